"""What the graph and the vectors hold, by name: they have no schema file that says it.

`contract/test_rich_call.py` holds this list against real servers, `flow/test_fields_page.py` holds
`deploy/fields.md` against it.
"""

from collections.abc import Mapping

# properties of nodes, by label
GRAPH: Mapping[str, str] = {
    "Call": "id callId leadId source startTime timestamp duration phases_completed"
    " engagement_progression final_engagement_score engagement_score outcome result qualified"
    " transfer_successful kevin_available motivation_level skepticism_level urgency pace formality"
    " technical_comfort contribution contribution_at",
    "Lead": "id leadId phone status income_range experience availability motivation_level"
    " skepticism_level urgency pace formality technical_comfort seen_at seen_call from_crm",
    "Objection": "type frequency resolved successful_responses context_triggers tally",
    "Strategy": "name success_rate context_effectiveness kevin_transfer_correlation calls"
    " transferred tried lifted hinted hints_used hints_dismissed tally",
    "Outcome": "type",
    "Kevin": "name availability seen_at seen_call",
    "Pattern": "id type effectiveness calls tally",
    "Phase": "number",
    "Kind": "scope kind",
    "Evidence": "name revision calls transferred",
}
# properties of edges, by type
EDGES: Mapping[str, str] = {
    "HAD_CALL": "",
    "HAD_CONVERSATION": "outcome engagement_score timestamp",
    "ENCOUNTERED_OBJECTION": "position phase resolution_successful strategy_used trigger at",
    "USED_STRATEGY": "position phase effectiveness led_to_transfer hinted tried lifted",
    "HINTED": "position phase objection confidence status at",
    "EXHIBITED_PATTERN": "effectiveness",
    "LED_TO_OUTCOME": "",
    "KEVIN_AVAILABLE": "available",
    "TRANSFER_ATTEMPTED": "position successful outcome phase engagement_score at",
    "ANSWERED_BY": "tried lifted sunk won hinted at sums",
    "FOR_KIND": "",
}
OF_CALL = "call_id lead_id source final_outcome qualified successful_transfer"
# keys beside the vectors, by collection
METADATA: Mapping[str, str] = {
    "conversation_embeddings": f"{OF_CALL} phase engagement_score sentiment strategy",
    "conversation_patterns": f"{OF_CALL} outcome engagement_score phase kevin_available",
    "objection_responses": f"{OF_CALL} strategy objection phase hinted",
    "strategy_embeddings": "strategy kind",
    "objection_embeddings": "objection is_refusal",
}
