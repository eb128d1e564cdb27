package verify

type identityFacts struct{}

func identityChecks() []Check { return nil }
