-- Ratings, the latest of each answer first.
opinions AS (
    SELECT
        decision_id,
        rating,
        row_number() OVER (
            PARTITION BY decision_id ORDER BY CAST(occurred_at AS VARCHAR) DESC, rating
        )                                                         AS nth
    FROM feedback
    WHERE dt BETWEEN '$first' AND '$until'
),
