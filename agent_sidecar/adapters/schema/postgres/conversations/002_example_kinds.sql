-- For which kinds of lead a conversation is an example, from everybody ('') to the narrowest.
-- Null: written by an older version; `migrate` fills it in. Empty: it is no evidence.
ALTER TABLE conversations ADD COLUMN example_kinds text[], ADD COLUMN qualified boolean;

-- the best of each kind are found at once, however many there are
CREATE INDEX idx_conversations_best ON conversations ((example_kinds[1]), score DESC NULLS LAST, id)
    WHERE qualified;
CREATE INDEX idx_conversations_best_1 ON conversations
    ((example_kinds[2]), score DESC NULLS LAST, id) WHERE qualified;
CREATE INDEX idx_conversations_best_2 ON conversations
    ((example_kinds[3]), score DESC NULLS LAST, id) WHERE qualified;
CREATE INDEX idx_conversations_best_3 ON conversations
    ((example_kinds[4]), score DESC NULLS LAST, id) WHERE qualified;
CREATE INDEX idx_conversations_best_4 ON conversations
    ((example_kinds[5]), score DESC NULLS LAST, id) WHERE qualified;
CREATE INDEX idx_conversations_no_kinds ON conversations (id) WHERE example_kinds IS NULL;
