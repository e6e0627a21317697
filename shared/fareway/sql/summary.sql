-- The rolled-up days by tier, complexity, lane and model: all that a page's first view shows, in
-- one query over a few small objects. See `rollup_days.sql` for what the columns count.
SELECT
    dt                                                            AS day,
    tier,
    CAST(complexity AS INTEGER)                                   AS complexity,
    lane,
    served_model,
    sum(CAST(requests AS BIGINT))                                 AS requests,
    sum(CAST(answered AS BIGINT))                                 AS answered,
    sum(CAST(failed AS BIGINT))                                   AS failed,
    sum(CAST(answered_by_failover AS BIGINT))                     AS answered_by_failover,
    sum(CAST(cache_hits AS BIGINT))                               AS cache_hits,
    sum(CAST(escalated AS BIGINT))                                AS escalated,
    sum(CAST(unpriced AS BIGINT))                                 AS unpriced,
    sum(CAST(estimated AS BIGINT))                                AS estimated,
    sum(CAST(prompt_tokens AS BIGINT))                            AS prompt_tokens,
    sum(CAST(completion_tokens AS BIGINT))                        AS completion_tokens,
    sum(CAST(cost_usd AS DECIMAL(18, 9)))                         AS cost_usd,
    sum(CAST(baseline_usd AS DECIMAL(18, 9)))                     AS baseline_usd,
    sum(CAST(classifier_ms AS DOUBLE))                            AS classifier_ms,
    sum(CAST(upstream_ms AS DOUBLE))                              AS upstream_ms,
    sum(CAST(total_ms AS DOUBLE))                                 AS total_ms
FROM rollups
WHERE dt BETWEEN '$first' AND '$last'
GROUP BY dt, tier, CAST(complexity AS INTEGER), lane, served_model
ORDER BY day, tier, complexity, lane, served_model
