-- The month's spend: what was spent through the last whole day, and each day that is left as the
-- mean of the seven days before it; the range takes the least and the most of the seven instead.
WITH events AS (
    SELECT DISTINCT decision_id, substr(occurred_at, 1, 10) AS day, cost_usd, baseline_usd
    FROM cost_events
    WHERE dt BETWEEN '$since' AND '$until'
      AND substr(occurred_at, 1, 10) BETWEEN '$since' AND '$last'
      AND cost_usd IS NOT NULL
),
days AS (
    SELECT
        day,
        CAST(sum(cost_usd) AS DOUBLE)                             AS usd,
        CAST(sum(baseline_usd) AS DOUBLE)                         AS baseline_usd
    FROM events
    GROUP BY day
),
-- A day without an event has no row, and cost nothing.
facts AS (
    SELECT
        coalesce(sum(CASE WHEN day >= '$first' THEN usd END), 0)  AS spent_usd,
        coalesce(sum(CASE WHEN day >= '$first' THEN baseline_usd END), 0) AS baseline_usd,
        coalesce(sum(CASE WHEN day >= '$week' THEN usd END), 0) / 7 AS daily_usd,
        coalesce(sum(CASE WHEN day >= '$week' THEN baseline_usd END), 0) / 7 AS daily_baseline_usd,
        CASE WHEN sum(CASE WHEN day >= '$week' THEN 1 ELSE 0 END) = 7
            THEN min(CASE WHEN day >= '$week' THEN usd END) ELSE 0 END AS least_daily_usd,
        coalesce(max(CASE WHEN day >= '$week' THEN usd END), 0)   AS most_daily_usd
    FROM days
)
SELECT
    spent_usd,
    daily_usd,
    $days_left                                                    AS days_left,
    spent_usd + $days_left * daily_usd                            AS month_usd,
    spent_usd + $days_left * least_daily_usd                      AS month_least_usd,
    spent_usd + $days_left * most_daily_usd                       AS month_most_usd,
    baseline_usd + $days_left * daily_baseline_usd                AS month_baseline_usd
FROM facts
