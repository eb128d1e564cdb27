// Package account is a deployment's account as checks see it: what the services
// themselves say of it, and the plan to hold it against.
//
// Invariants: a fact is read when it is first asked for, once in a look, and by the
// services' own APIs, never from CloudFormation. Nothing is written. What isn't
// there is an empty value, not an error; an error means that it could not be
// read.
//
// Limits: here are the facts that checks of several areas share. An area keeps
// those of its own by [Facts].
package account

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

// Look is the account as the checks see it: facts that are read when the first
// check asks for them, and once only. It is safe for concurrent use.
type Look struct {
	// Ctx is that of the run: every read ends with it.
	Ctx context.Context
	// Arch is what should be there.
	Arch *architecture.Architecture
	// AWS are the services to ask, and ID is whom they know the caller as.
	AWS *awsapi.Clients
	ID  awsapi.Identity

	networkFacts
	clusterFacts
	accessFacts
	nodeFacts
	identityFacts
	databaseFacts
	keyFacts
	edgeFacts

	// others are the facts of single packages, by their type.
	others sync.Map
}

// New is a look at an account as the context lets it; nothing is read before it is
// asked for.
func New(ctx context.Context, a *architecture.Architecture, clients *awsapi.Clients, id awsapi.Identity) *Look {
	return &Look{Ctx: ctx, Arch: a, AWS: clients, ID: id}
}

// kind is the key of facts of a type.
type kind[T any] struct{}

// Facts are the facts of a look that only one package reads: T is that package's
// own struct of [Fact] and [Keyed], and each look has one of it. It is safe for
// concurrent use.
func Facts[T any](l *Look) *T {
	v, ok := l.others.Load(kind[T]{})
	if !ok {
		v, _ = l.others.LoadOrStore(kind[T]{}, new(T))
	}
	return v.(*T)
}

// Fact is something that is read from the account at most once. The zero value
// is ready for use; it is safe for concurrent use.
type Fact[T any] struct {
	once  sync.Once
	value T
	err   error
}

// Get reads the fact, or returns what was read before.
func (f *Fact[T]) Get(read func() (T, error)) (T, error) {
	f.once.Do(func() { f.value, f.err = read() })
	return f.value, f.err
}

// Keyed are facts of one kind, one for each key, such as a bucket's name.
type Keyed[T any] struct {
	mu    sync.Mutex
	facts map[string]*Fact[T]
}

// Get reads the fact of a key, or returns what was read before.
func (k *Keyed[T]) Get(key string, read func() (T, error)) (T, error) {
	k.mu.Lock()
	if k.facts == nil {
		k.facts = map[string]*Fact[T]{}
	}
	f := k.facts[key]
	if f == nil {
		f = &Fact[T]{}
		k.facts[key] = f
	}
	k.mu.Unlock()
	return f.Get(read)
}

// OrNone turns the answer that something is not there into the zero value.
func OrNone[T any](v T, err error) (T, error) {
	if awsapi.IsNotFound(err) {
		var none T
		return none, nil
	}
	return v, err
}

// Anything tells whether there is anything of the deployment: its network, its
// cluster or a key.
func (l *Look) Anything() (bool, error) {
	var errs []error
	if !l.Given() {
		vpc, err := l.VPC()
		if vpc != nil {
			return true, nil
		}
		errs = append(errs, err)
	}
	cluster, err := l.Cluster()
	if cluster != nil {
		return true, nil
	}
	errs = append(errs, err)
	keys, err := l.Keys()
	if len(keys) > 0 {
		return true, nil
	}
	return false, errors.Join(append(errs, err)...)
}

// SortedKeys are the keys of a map in order.
func SortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// ResourceOf is the part of an ARN that names the resource: all after the
// account.
func ResourceOf(arn string) string {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) < 6 {
		return arn
	}
	return parts[5]
}
