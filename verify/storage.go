package verify

type storageFacts struct{}

func storageChecks() []Check { return nil }
