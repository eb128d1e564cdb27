package verify_test

func clusterWrecks() []wreck { return nil }

func nodeWrecks() []wreck { return nil }

func identityWrecks() []wreck { return nil }

func databaseWrecks() []wreck { return nil }

func storageWrecks() []wreck { return nil }

func keyWrecks() []wreck { return nil }

func edgeWrecks() []wreck { return nil }

func ownershipWrecks() []wreck { return nil }
