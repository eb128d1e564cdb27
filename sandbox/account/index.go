package account

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// The account keeps the resources of each type in order of id, and indexes of
// those that were asked for, so that no request costs more because there are
// many resources that it has nothing to do with. Both follow from the resources
// and are made anew where they don't fit them.

// index lists the resources of a type by a key.
type index struct {
	key func(*Resource) string
	// of is the key by which a resource was entered.
	of map[string]string
	by map[string][]*Resource
}

func byID(r *Resource, id string) int { return cmp.Compare(r.ID, id) }

func insert(l []*Resource, r *Resource) []*Resource {
	// Most ids come in no order, those with a serial number at the end.
	i, found := slices.BinarySearchFunc(l, r.ID, byID)
	if found {
		l[i] = r
		return l
	}
	return slices.Insert(l, i, r)
}

func remove(l []*Resource, id string) []*Resource {
	if i, found := slices.BinarySearchFunc(l, id, byID); found {
		return slices.Delete(l, i, i+1)
	}
	return l
}

func (x *index) put(r *Resource) {
	x.drop(r.ID)
	k := x.key(r)
	x.of[r.ID] = k
	x.by[k] = insert(x.by[k], r)
}

func (x *index) drop(id string) {
	k, ok := x.of[id]
	if !ok {
		return
	}
	delete(x.of, id)
	if x.by[k] = remove(x.by[k], id); len(x.by[k]) == 0 {
		delete(x.by, k)
	}
}

// ordered are the resources of a type by id. They belong to the account: who
// changes the store or hands them out copies them.
func (a *Account) ordered(typ string) []*Resource {
	all := a.resources[typ]
	if l := a.sorted[typ]; len(l) == len(all) {
		return l
	}
	l := make([]*Resource, 0, len(all))
	for _, r := range all {
		l = append(l, r)
	}
	slices.SortFunc(l, func(a, b *Resource) int { return strings.Compare(a.ID, b.ID) })
	if a.sorted == nil {
		a.sorted = map[string][]*Resource{}
	}
	a.sorted[typ] = l
	return l
}

// enter and leave keep order and indexes up to date; enter comes after the
// resource is in the store, leave before it goes.
func (a *Account) enter(r *Resource, isNew bool) {
	n := len(a.resources[r.Type])
	if isNew {
		n--
	}
	if l, ok := a.sorted[r.Type]; ok && len(l) == n {
		a.sorted[r.Type] = insert(l, r)
	}
	for _, x := range a.indexes[r.Type] {
		x.put(r)
	}
}

func (a *Account) leave(typ, id string) {
	if a.resources[typ][id] == nil {
		return
	}
	if l, ok := a.sorted[typ]; ok && len(l) == len(a.resources[typ]) {
		a.sorted[typ] = remove(l, id)
	}
	for _, x := range a.indexes[typ] {
		x.drop(id)
	}
}

// again brings a resource's entries in the indexes up to date.
func (a *Account) again(r *Resource) {
	if a.resources[r.Type][r.ID] != r {
		return
	}
	for _, x := range a.indexes[r.Type] {
		if k := x.key(r); x.of[r.ID] != k {
			x.put(r)
		}
	}
}

// Reindex brings a resource's entries in the indexes up to date after what a
// key depends on was changed in place.
func (tx *Tx) Reindex(r *Resource) { tx.a.again(r) }

// CheckIndexes tells, for tests, whether a resource's key changed without the
// index having been told.
func (a *Account) CheckIndexes() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for typ, byName := range a.indexes {
		for name, x := range byName {
			for id, r := range a.resources[typ] {
				if k := x.key(r); x.of[id] != k {
					return fmt.Errorf("%s %s has the key %q in the index %q and is entered with %q", typ, id, k, name, x.of[id])
				}
			}
		}
	}
	return nil
}

// Count is how many resources of a type there are.
func (tx *Tx) Count(typ string) int { return len(tx.a.resources[typ]) }

// Each calls f with the resources of a type by id until it answers false. F
// must not put or drop any of that type.
func (tx *Tx) Each(typ string, f func(*Resource) bool) {
	for _, r := range tx.a.ordered(typ) {
		tx.a.keep.look(typ, r.ID)
		if !f(r) {
			return
		}
	}
}

// Where lists the resources of a type whose key has the value, by id, at the
// cost of those. Name tells the keys of a type apart; the same name must come
// with the same function. Keys are asked for when a resource is put, updated or
// settled: what changes one otherwise calls [Tx.Reindex].
func (tx *Tx) Where(typ, name string, key func(*Resource) string, value string) []*Resource {
	list := slices.Clone(tx.a.index(typ, name, key).by[value])
	tx.a.keep.lookAll(typ, list)
	return list
}

func (a *Account) index(typ, name string, key func(*Resource) string) *index {
	x := a.indexes[typ][name]
	if x != nil && len(x.of) == len(a.resources[typ]) {
		return x
	}
	x = &index{key: key, of: map[string]string{}, by: map[string][]*Resource{}}
	for _, r := range a.ordered(typ) {
		k := key(r)
		x.of[r.ID] = k
		x.by[k] = append(x.by[k], r)
	}
	if a.indexes == nil {
		a.indexes = map[string]map[string]*index{}
	}
	if a.indexes[typ] == nil {
		a.indexes[typ] = map[string]*index{}
	}
	a.indexes[typ][name] = x
	return x
}
