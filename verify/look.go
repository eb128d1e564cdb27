package verify

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/internal/awsapi"
)

// look is the account as the checks see it: facts that are read when the first
// check asks for them, and once only.
type look struct {
	ctx  context.Context
	arch *architecture.Architecture
	aws  *awsapi.Clients
	id   awsapi.Identity

	networkFacts
	clusterFacts
	identityFacts
	databaseFacts
	storageFacts
	keyFacts
	edgeFacts
	ownershipFacts
}

func newLook(ctx context.Context, o Options, id awsapi.Identity) *look {
	return &look{ctx: ctx, arch: o.Architecture, aws: o.AWS, id: id}
}

// fact is something that is read from the account at most once. The zero value
// is ready for use; it is safe for concurrent use.
type fact[T any] struct {
	once  sync.Once
	value T
	err   error
}

// get reads the fact, or returns what was read before.
func (f *fact[T]) get(read func() (T, error)) (T, error) {
	f.once.Do(func() { f.value, f.err = read() })
	return f.value, f.err
}

// keyed are facts of one kind, one for each key, such as a bucket's name.
type keyed[T any] struct {
	mu    sync.Mutex
	facts map[string]*fact[T]
}

// get reads the fact of a key, or returns what was read before.
func (k *keyed[T]) get(key string, read func() (T, error)) (T, error) {
	k.mu.Lock()
	if k.facts == nil {
		k.facts = map[string]*fact[T]{}
	}
	f := k.facts[key]
	if f == nil {
		f = &fact[T]{}
		k.facts[key] = f
	}
	k.mu.Unlock()
	return f.get(read)
}

// orNone turns the answer that something is not there into the zero value.
func orNone[T any](v T, err error) (T, error) {
	if awsapi.IsNotFound(err) {
		var none T
		return none, nil
	}
	return v, err
}

// anything tells whether there is anything of the deployment: its network, its
// cluster or a key.
func (l *look) anything() (bool, error) {
	var errs []error
	if !l.given() {
		vpc, err := l.vpc()
		if vpc != nil {
			return true, nil
		}
		errs = append(errs, err)
	}
	cluster, err := l.cluster()
	if cluster != nil {
		return true, nil
	}
	errs = append(errs, err)
	keys, err := l.keys()
	if len(keys) > 0 {
		return true, nil
	}
	return false, errors.Join(append(errs, err)...)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// resourceOf is the part of an ARN that names the resource: all after the
// account.
func resourceOf(arn string) string {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) < 6 {
		return arn
	}
	return parts[5]
}

// yesNo is a truth value for people.
func yesNo(b bool) string {
	if b {
		return "on"
	}
	return "off"
}
