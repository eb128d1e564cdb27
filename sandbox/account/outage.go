package account

// typeOutage are the zones that are lost, by name.
const typeOutage = "account:outage"

// LoseZone marks a zone as lost, for ever. What that does to what is in it is
// the services' affair.
func (tx *Tx) LoseZone(name string) { tx.Put(&Resource{Type: typeOutage, ID: name}) }

// Lost tells whether a zone is lost, by its name.
func (tx *Tx) Lost(zone string) bool { return tx.Get(typeOutage, zone) != nil }
