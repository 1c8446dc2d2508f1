// Whether calls succeed when the closer was free: availability is a fact of the call, so it is
// read from the edge; the closer's own property only says how he was seen last.
MATCH (c:Call)-[a:KEVIN_AVAILABLE]->(k:Kevin)
WHERE c.source IN ['live', 'import'] AND c.transfer_successful = true
RETURN k.name AS closer, a.available AS available, count(c) AS successful_transfers,
       avg(c.engagement_score) AS mean_engagement
ORDER BY successful_transfers DESC, closer, available;
