-- `events`, each with what the session's next turn said and the tier that it was lifted to. The next
-- turn's lift tells of this one's answer if it is over the floor that the session had already.
ranked AS (
    SELECT
        *,
        CASE tier WHEN 'cheap' THEN 1 WHEN 'mid' THEN 2 WHEN 'premium' THEN 3 ELSE 0 END AS tier_rank,
        CASE session_floor WHEN 'mid' THEN 2 WHEN 'premium' THEN 3 ELSE 0 END AS floor_rank,
        CASE WHEN escalated AND raised IS NULL THEN 1 ELSE 0 END  AS lifted,
        coalesce(session_hash, decision_id)                       AS conversation
    FROM events
),
-- The next turn of the session. A conversation that begins anew (no follow_up) is none.
turns AS (
    SELECT
        *,
        lead(follow_up) OVER (
            PARTITION BY tenant_hash, conversation ORDER BY occurred_at, decision_id
        )                                                         AS said_next,
        lead(lifted * tier_rank) OVER (
            PARTITION BY tenant_hash, conversation ORDER BY occurred_at, decision_id
        )                                                         AS lifted_to
    FROM ranked
),
