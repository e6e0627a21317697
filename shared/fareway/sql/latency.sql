-- Percentiles of what was answered, by stage, milliseconds: the smallest value that at least so
-- many of a hundred do not exceed. Athena's approx_percentile is not in every engine.
WITH events AS (
    SELECT DISTINCT
        decision_id, cache_hit, complexity, stream, cache_ms, classifier_ms, upstream_ms,
        first_token_ms, total_ms
    FROM cost_events
    WHERE dt BETWEEN '$first' AND '$until'
      AND substr(occurred_at, 1, 10) BETWEEN '$first' AND '$last'
      AND status = 200
),
spans AS (
    SELECT
        stages.stage,
        stages.place,
        CASE stages.stage
            WHEN 'cache' THEN CASE WHEN complexity IS NOT NULL THEN cache_ms END
            WHEN 'classifier' THEN CASE WHEN complexity IS NOT NULL AND cache_hit = 'none' THEN classifier_ms END
            WHEN 'upstream' THEN upstream_ms
            WHEN 'first token' THEN first_token_ms
            WHEN 'overhead' THEN total_ms - upstream_ms
            ELSE total_ms
        END                                                       AS ms
    FROM events
    CROSS JOIN (
        VALUES (1, 'cache'), (2, 'classifier'), (3, 'upstream'), (4, 'first token'), (5, 'overhead'), (6, 'total')
    ) AS stages (place, stage)
),
ranked AS (
    SELECT
        *,
        count(*) OVER (PARTITION BY stage)                        AS n,
        row_number() OVER (PARTITION BY stage ORDER BY ms)        AS place_in_stage
    FROM spans
    WHERE ms IS NOT NULL
)
SELECT
    stage,
    count(*)                                                      AS requests,
    avg(ms)                                                       AS mean_ms,
    min(CASE WHEN 100 * place_in_stage >= 50 * n THEN ms END)     AS p50_ms,
    min(CASE WHEN 100 * place_in_stage >= 90 * n THEN ms END)     AS p90_ms,
    min(CASE WHEN 100 * place_in_stage >= 95 * n THEN ms END)     AS p95_ms,
    min(CASE WHEN 100 * place_in_stage >= 99 * n THEN ms END)     AS p99_ms
FROM ranked
GROUP BY place, stage
ORDER BY place
