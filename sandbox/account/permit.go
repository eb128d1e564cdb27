package account

// Change is what CloudFormation is about to do with a resource of a stack: run
// the type's handler of that name.
type Change struct {
	// Type is the resource type, Handler create, read, update or delete.
	Type, Handler string
	// Resource is nil until it is made.
	Resource *Resource
	// Props are the properties that it gets or, for read and delete, has.
	Props map[string]any
	// Tags are the stack's.
	Tags map[string]string
	// Stack and LogicalID are the names that CloudFormation makes a name of
	// where the template gives none.
	Stack, LogicalID string
	// Role tells that CloudFormation acts as its service role, not on behalf of
	// the caller.
	Role bool
}

// Permit asks whether tx.Caller may have a handler run; the error is the
// service's refusal.
func (tx *Tx) Permit(c Change) error {
	if p := tx.a.model.Permit; p != nil {
		return p(tx, c)
	}
	return nil
}

// Asked tells of a permission that a service asked of a principal by itself, as
// those for keys that it uses in the principal's name.
type Asked struct {
	Principal, Action string
	Resources         []string
	Context           map[string][]string
	Denied            bool
}

// Asked takes note of what a service asked.
func (tx *Tx) Asked(a Asked) {
	if f := tx.a.model.Asked; f != nil {
		f(tx, a)
	}
}
