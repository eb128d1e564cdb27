package account

// Health is what a load balancer finds of a target.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetHealth.html
type Health struct{ State, Reason, Description string }

// TargetHealth is the health of the targets of a target group that something
// real stands behind, and of those that drain, by id:port.
func (tx *Tx) TargetHealth(group string) map[string]Health {
	if f := tx.a.opts.TargetHealth; f != nil {
		return f(group)
	}
	return nil
}
