package iam

import (
	"encoding/base32"
	"encoding/binary"
	"slices"
	"strconv"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

func userType() *account.Type {
	return &account.Type{
		Name: TypeUser,
		Create: func(tx *account.Tx, r *account.Resource) error {
			name, path := props.Str(r.Props, "UserName"), pathOf(r)
			if name == "" {
				name = tx.Name(r, 64)
			}
			if err := checkName("userName", name, path, 64); err != nil {
				return err
			}
			users := tx.List(TypeUser)
			if slices.ContainsFunc(users, func(o *account.Resource) bool { return strings.EqualFold(o.ID, name) }) {
				return errorf("EntityAlreadyExists", "User with name %s already exists.", name)
			}
			if len(users) >= maxUsers {
				return errorf("LimitExceeded", "Cannot exceed quota for UsersPerAccount: %d", maxUsers)
			}
			if err := checkPolicies(tx, "user", name, r.Props, maxInlineOfUser); err != nil {
				return err
			}
			r.ID = name
			r.Attrs["Arn"] = tx.GlobalARN("iam", "user"+path+name)
			r.Attrs["UserId"] = UniqueID(tx, "AIDA")
			r.Tags = props.Tags(r.Props, "Tags")
			return nil
		},
		Update: func(tx *account.Tx, r *account.Resource, next map[string]any) error {
			if err := checkPolicies(tx, "user", r.ID, next, maxInlineOfUser); err != nil {
				return err
			}
			r.Retag(next, "Tags")
			return nil
		},
		Gone: func(tx *account.Tx, r *account.Resource) {
			for _, k := range accessKeys(tx, r.ID) {
				tx.Drop(TypeAccessKey, k.ID)
			}
		},
	}
}

// AccessKey is a key pair of a user, with the user's ARN; false if there is none
// in use with that id.
func AccessKey(tx *account.Tx, id string) (wire.Credential, bool) {
	k := tx.Get(TypeAccessKey, id)
	if k == nil || k.Status != "Active" {
		return wire.Credential{}, false
	}
	u := tx.Get(TypeUser, k.Owner)
	if u == nil {
		return wire.Credential{}, false
	}
	return wire.Credential{AccessKeyID: id, SecretAccessKey: props.Str(k.Data, "secret"), ARN: props.Str(u.Attrs, "Arn")}, true
}

// KeyID makes an access key id as AWS does: a prefix that tells its kind, and
// an account within random characters.
func KeyID(tx *account.Tx, prefix string) string {
	id, err := strconv.ParseUint(tx.AccountID(), 10, 64)
	random, err2 := strconv.ParseUint(tx.HexID(16), 16, 64)
	if err != nil || err2 != nil {
		return prefix + strings.ToUpper(tx.HexID(16))
	}
	// 80 bits: one set, 40 of the account, the rest random.
	var b [10]byte
	binary.BigEndian.PutUint64(b[:8], 1<<63|id<<23|random&(1<<23-1))
	binary.BigEndian.PutUint16(b[8:], uint16(random>>32))
	return prefix + base32.StdEncoding.EncodeToString(b[:])
}

// KeyAccount is the account that an access key id made by [KeyID] is of; false
// for others.
//
// https://docs.aws.amazon.com/STS/latest/APIReference/API_GetAccessKeyInfo.html
func KeyAccount(id string) (string, bool) {
	if len(id) != 20 {
		return "", false
	}
	b, err := base32.StdEncoding.DecodeString(id[4:])
	if err != nil || b[0]&0x80 == 0 {
		return "", false
	}
	n := strconv.FormatUint(binary.BigEndian.Uint64(b)<<1>>24, 10)
	if len(n) > 12 {
		return "", false
	}
	return strings.Repeat("0", 12-len(n)) + n, true
}

// accessKeys are a user's, the oldest first.
func accessKeys(tx *account.Tx, user string) []*account.Resource {
	var out []*account.Resource
	for _, k := range tx.List(TypeAccessKey) {
		if k.Owner == user {
			out = append(out, k)
		}
	}
	slices.SortStableFunc(out, func(a, b *account.Resource) int { return a.Created.Compare(b.Created) })
	return out
}

// onUser finds the user that a request names; where it may be left out, it is
// the caller.
func onUser(do handler) func(*account.Tx, *wire.Request) (any, error) {
	return func(tx *account.Tx, r *wire.Request) (any, error) {
		name := r.String("UserName")
		if name == "" && identify(tx, tx.Caller).kind == user {
			name = tx.Caller[strings.LastIndexByte(tx.Caller, '/')+1:]
		}
		if name == "" {
			return nil, errorf("ValidationError", "Must specify userName when calling with non-User credentials")
		}
		u := tx.Get(TypeUser, name)
		if u == nil {
			return nil, errorf("NoSuchEntity", "The user with name %s cannot be found.", name)
		}
		r.Resource = props.Str(u.Attrs, "Arn")
		return do(tx, r, u)
	}
}

func userOperations() []wire.Operation {
	return []wire.Operation{
		{Name: "CreateUser", Do: createUser},
		{Name: "GetUser", Do: onUser(func(_ *account.Tx, _ *wire.Request, u *account.Resource) (any, error) {
			return map[string]any{"User": userView(u, true)}, nil
		})},
		{Name: "ListUsers", Do: listUsers},
		{Name: "DeleteUser", Do: onUser(deleteUser)},
		{Name: "TagUser", Do: onUser(tagUser)},
		{Name: "UntagUser", Do: onUser(untagUser)},
		{Name: "ListUserTags", Do: onUser(func(_ *account.Tx, r *wire.Request, u *account.Resource) (any, error) {
			return paged(r, "Tags", props.Pairs(u.Tags))
		})},
		{Name: "PutUserPolicy", Do: onUser(putInline)},
		{Name: "GetUserPolicy", Do: onUser(getInline)},
		{Name: "DeleteUserPolicy", Do: onUser(deleteInline)},
		{Name: "ListUserPolicies", Do: onUser(listInline)},
		{Name: "AttachUserPolicy", Do: onUser(attach)},
		{Name: "DetachUserPolicy", Do: onUser(detach)},
		{Name: "ListAttachedUserPolicies", Do: onUser(listAttached)},
		{Name: "PutUserPermissionsBoundary", Do: onUser(func(tx *account.Tx, r *wire.Request, u *account.Resource) (any, error) {
			return nil, change(tx, u, func(p map[string]any) { p["PermissionsBoundary"] = r.String("PermissionsBoundary") })
		})},
		{Name: "DeleteUserPermissionsBoundary", Do: onUser(func(tx *account.Tx, _ *wire.Request, u *account.Resource) (any, error) {
			return nil, change(tx, u, func(p map[string]any) { delete(p, "PermissionsBoundary") })
		})},
		{Name: "CreateAccessKey", Do: onUser(createAccessKey)},
		{Name: "ListAccessKeys", Do: onUser(listAccessKeys)},
		{Name: "UpdateAccessKey", Do: onUser(updateAccessKey)},
		{Name: "DeleteAccessKey", Do: onUser(deleteAccessKey)},
	}
}

func createUser(tx *account.Tx, r *wire.Request) (any, error) {
	if r.String("UserName") == "" {
		return nil, errorf("ValidationError", "1 validation error detected: Value null at 'userName' failed to satisfy constraint: Member must not be null")
	}
	p := map[string]any{"Tags": tags(r)}
	for _, k := range []string{"UserName", "Path", "PermissionsBoundary"} {
		p[k] = r.String(k)
	}
	u, err := create(tx, TypeUser, p)
	if err != nil {
		return nil, err
	}
	r.Resource = props.Str(u.Attrs, "Arn")
	return map[string]any{"User": userView(u, true)}, nil
}

func userView(u *account.Resource, full bool) map[string]any {
	v := map[string]any{"UserName": u.ID, "UserId": u.Attrs["UserId"], "Arn": u.Attrs["Arn"], "Path": pathOf(u), "CreateDate": u.Created}
	if full {
		v["Tags"] = props.Pairs(u.Tags)
		if b := props.Str(u.Props, "PermissionsBoundary"); b != "" {
			v["PermissionsBoundary"] = map[string]any{"PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": b}
		}
	}
	return v
}

func listUsers(tx *account.Tx, r *wire.Request) (any, error) {
	var items []any
	for _, u := range tx.List(TypeUser) {
		if strings.HasPrefix(pathOf(u), r.String("PathPrefix")) {
			items = append(items, userView(u, false))
		}
	}
	return paged(r, "Users", items)
}

func deleteUser(tx *account.Tx, _ *wire.Request, u *account.Resource) (any, error) {
	switch {
	case len(accessKeys(tx, u.ID)) > 0:
		return nil, errorf("DeleteConflict", "Cannot delete entity, must delete access keys first.")
	case len(AttachedPolicies(tx, u)) > 0:
		return nil, errorf("DeleteConflict", "Cannot delete entity, must detach all policies first.")
	case len(InlinePolicies(tx, u, u.Props)) > 0:
		return nil, errorf("DeleteConflict", "Cannot delete entity, must delete policies first.")
	}
	return nil, remove(tx, u)
}

func tagUser(_ *account.Tx, r *wire.Request, u *account.Resource) (any, error) {
	more := props.Tags(r.In, "Tags")
	if err := checkTags(more); err != nil {
		return nil, err
	}
	for k, v := range more {
		u.Tags[k] = v
	}
	return nil, nil
}

func untagUser(_ *account.Tx, r *wire.Request, u *account.Resource) (any, error) {
	for _, k := range r.Strings("TagKeys") {
		delete(u.Tags, k)
	}
	return nil, nil
}

func createAccessKey(tx *account.Tx, _ *wire.Request, u *account.Resource) (any, error) {
	if len(accessKeys(tx, u.ID)) >= maxAccessKeys {
		return nil, errorf("LimitExceeded", "Cannot exceed quota for AccessKeysPerUser: %d", maxAccessKeys)
	}
	k := &account.Resource{Type: TypeAccessKey, ID: KeyID(tx, "AKIA"), Owner: u.ID, Status: "Active", Data: map[string]any{"secret": tx.HexID(40)}}
	tx.Put(k)
	v := keyView(k)
	v["SecretAccessKey"] = k.Data["secret"]
	return map[string]any{"AccessKey": v}, nil
}

func keyView(k *account.Resource) map[string]any {
	return map[string]any{"UserName": k.Owner, "AccessKeyId": k.ID, "Status": k.Status, "CreateDate": k.Created}
}

func listAccessKeys(tx *account.Tx, r *wire.Request, u *account.Resource) (any, error) {
	var items []any
	for _, k := range accessKeys(tx, u.ID) {
		items = append(items, keyView(k))
	}
	return paged(r, "AccessKeyMetadata", items)
}

// ownKey is one of a user's keys.
func ownKey(tx *account.Tx, r *wire.Request, u *account.Resource) (*account.Resource, error) {
	k := tx.Get(TypeAccessKey, r.String("AccessKeyId"))
	if k == nil || k.Owner != u.ID {
		return nil, errorf("NoSuchEntity", "The Access Key with id %s cannot be found.", r.String("AccessKeyId"))
	}
	return k, nil
}

func updateAccessKey(tx *account.Tx, r *wire.Request, u *account.Resource) (any, error) {
	k, err := ownKey(tx, r, u)
	if err != nil {
		return nil, err
	}
	s := r.String("Status")
	if s != "Active" && s != "Inactive" {
		return nil, errorf("ValidationError", "1 validation error detected: Value '%s' at 'status' failed to satisfy constraint: Member must satisfy enum value set: [Active, Inactive]", s)
	}
	k.Status = s
	return nil, nil
}

func deleteAccessKey(tx *account.Tx, r *wire.Request, u *account.Resource) (any, error) {
	k, err := ownKey(tx, r, u)
	if err != nil {
		return nil, err
	}
	tx.Drop(TypeAccessKey, k.ID)
	return nil, nil
}
