package main

import "fmt"

// correction is one place where the specification differs from what AWS
// accepts or answers.
type correction struct {
	Type       string
	Definition string // empty for a property of the resource itself
	Property   string
	Def        propDef
	Reason     string
}

func corrections() []correction { return nil }

func correct(types map[string]*resourceType, list []correction) error {
	for _, c := range list {
		r := types[c.Type]
		if r == nil {
			return fmt.Errorf("correct %s: no such type", c.Type)
		}
		_ = r
	}
	return nil
}
