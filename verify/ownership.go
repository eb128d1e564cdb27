package verify

type ownershipFacts struct{}

func ownershipChecks() []Check { return nil }
