package policy

import (
	"bytes"
	"encoding/json"
	"strings"
)

// Position is a place in a document's text; both count from 1.
type Position struct{ Line, Column int }

// Spans are where the statements of a document begin and end, in their order;
// nil if the text can't be read.
func Spans(text string) [][2]Position {
	d := json.NewDecoder(strings.NewReader(text))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil
		}
		if key != "Statement" {
			continue
		}
		end := int(d.InputOffset())
		start := end - len(value)
		if bytes.HasPrefix(value, []byte("{")) {
			return [][2]Position{{position(text, start), position(text, end)}}
		}
		inner := json.NewDecoder(bytes.NewReader(value))
		if _, err := inner.Token(); err != nil {
			return nil
		}
		var out [][2]Position
		for inner.More() {
			var statement json.RawMessage
			if err := inner.Decode(&statement); err != nil {
				return nil
			}
			to := int(inner.InputOffset())
			out = append(out, [2]Position{position(text, start+to-len(statement)), position(text, start+to)})
		}
		return out
	}
	return nil
}

func position(text string, offset int) Position {
	before := text[:offset]
	return Position{Line: strings.Count(before, "\n") + 1, Column: offset - strings.LastIndexByte(before, '\n')}
}
