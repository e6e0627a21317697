-- Tokens by kind, for pricing them again: at the served model's list price (reconciliation with
-- what the provider said that it charged) or at another baseline's. Prompts are parted where list
-- prices change with a prompt's length; those with audio apart, since heard and said differ in price.
WITH events AS (
    SELECT DISTINCT
        decision_id, served_model, aggregator, cost_source, cost_usd, baseline_usd, prompt_tokens,
        cached_tokens, cache_write_tokens, completion_tokens, reasoning_tokens, audio_tokens
    FROM cost_events
    WHERE dt BETWEEN '$first' AND '$until'
      AND substr(occurred_at, 1, 10) BETWEEN '$first' AND '$last'
      AND served_model IS NOT NULL
      AND prompt_tokens IS NOT NULL
),
banded AS (
    SELECT
        *,
        CASE
            WHEN prompt_tokens > 272000 THEN 272001
            WHEN prompt_tokens > 256000 THEN 256001
            WHEN prompt_tokens > 200000 THEN 200001
            WHEN prompt_tokens > 199999 THEN 200000
            WHEN prompt_tokens > 128000 THEN 128001
            WHEN prompt_tokens > 100000 THEN 100001
            WHEN prompt_tokens > 32000 THEN 32001
            ELSE 0
        END                                                       AS prompts_from,
        CASE WHEN coalesce(audio_tokens, 0) > 0 THEN 1 ELSE 0 END AS audio
    FROM events
)
SELECT
    served_model,
    coalesce(aggregator, '(none)')                                AS aggregator,
    coalesce(cost_source, 'unpriced')                             AS cost_source,
    prompts_from,
    audio,
    count(*)                                                      AS requests,
    sum(cost_usd)                                                 AS cost_usd,
    sum(baseline_usd)                                             AS baseline_usd,
    sum(prompt_tokens)                                            AS prompt_tokens,
    sum(coalesce(cached_tokens, 0))                               AS cached_tokens,
    sum(coalesce(cache_write_tokens, 0))                          AS cache_write_tokens,
    sum(completion_tokens)                                        AS completion_tokens,
    sum(coalesce(reasoning_tokens, 0))                            AS reasoning_tokens
FROM banded
GROUP BY
    served_model, coalesce(aggregator, '(none)'), coalesce(cost_source, 'unpriced'), prompts_from, audio
ORDER BY requests DESC, served_model, aggregator, cost_source, prompts_from, audio
