// Which strategies reach the closer, by kind of lead. Calls that failed are counted as well: a
// strategy that is used in every call succeeds often and helps nobody.
MATCH (l:Lead)-[:HAD_CONVERSATION]->(c:Conversation)-[:USED_STRATEGY]->(s:Strategy)
WHERE c.source IN ['live', 'import'] AND c.outcome <> 'no_answer'
WITH l.experience AS experience, l.income_range AS income_range, l.availability AS availability,
     s.name AS strategy, count(DISTINCT c) AS calls,
     count(DISTINCT CASE WHEN c.outcome = 'hot_transfer' THEN c.id END) AS success_count
WHERE success_count > 0
RETURN experience, income_range, availability, strategy, success_count, calls,
       toFloat(success_count) / calls AS success_rate
ORDER BY success_count DESC, success_rate DESC, strategy, experience, income_range, availability;
