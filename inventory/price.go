package inventory

import "time"

// Price is what something costs in a month of 730 hours.
type Price struct {
	// Amount is in US dollars, without taxes and discounts.
	Amount float64 `json:"usd"`
	// Source is AWS's page that says so, as of Date.
	Source string    `json:"source"`
	Date   time.Time `json:"date"`
}

// prices are those that are the same in all regions of the partition aws and
// don't depend on what a thing holds. All others are unknown here.
var prices = map[string]Price{
	// For each key; each of the first two rotations adds as much, which is not
	// counted here.
	"AWS::KMS::Key": {1, "https://aws.amazon.com/kms/pricing/", date(2026, 3, 14)},
}

func date(y int, m time.Month, d int) time.Time { return time.Date(y, m, d, 0, 0, 0, 0, time.UTC) }

// Monthly is what something of a type costs in a state, or nil. A key whose
// deletion is scheduled is free, by the same page.
func Monthly(typ, state string) *Price {
	p, ok := prices[typ]
	if !ok {
		return nil
	}
	if state == pendingDeletion {
		p.Amount = 0
	}
	return &p
}
