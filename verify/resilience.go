package verify

// Survival is a single failure, and whether the deployment survives it.
type Survival struct {
	// Failure names what is lost: "zone use1-az1".
	Failure string `json:"failure"`
	// Survives tells whether users are still served; Loss what is lost or
	// how long it takes, and Still what goes on.
	Survives bool     `json:"survives"`
	Still    []string `json:"still"`
	Loss     []string `json:"loss"`
	// Reason is set where it could not be told.
	Reason string `json:"reason,omitempty"`
}

func survivals(*look) []Survival { return []Survival{} }
