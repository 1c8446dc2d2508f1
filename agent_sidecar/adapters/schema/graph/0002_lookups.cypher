// What people look up by.
CREATE INDEX lead_phone IF NOT EXISTS FOR (l:Lead) ON (l.phone);
CREATE INDEX call_outcome IF NOT EXISTS FOR (c:Call) ON (c.outcome);
CREATE INDEX conversation_start IF NOT EXISTS FOR (c:Conversation) ON (c.startTime);
