package secretsmanager

import (
	"slices"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// The staging labels that Secrets Manager moves by itself.
const (
	current  = "AWSCURRENT"
	previous = "AWSPREVIOUS"
)

// mostVersions is how many versions a secret keeps; those without a label go
// first, the oldest before.
// https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_limits.html
const mostVersions = 100

// versions are a secret's versions in the order they were made: maps with id,
// created, stages, form and, sealed, the value.
func versions(s *account.Resource) []map[string]any { return props.Maps(s.Data, "versions") }

// byLabel is the version that has a staging label, or nil.
func byLabel(s *account.Resource, label string) map[string]any {
	for _, v := range versions(s) {
		if slices.Contains(props.Strs(v, "stages"), label) {
			return v
		}
	}
	return nil
}

// byID is the version of an id, or nil.
func byID(s *account.Resource, id string) map[string]any {
	for _, v := range versions(s) {
		if props.Str(v, "id") == id {
			return v
		}
	}
	return nil
}

// put adds a version with labels, which move to it: of that id, or one made up.
func put(tx *account.Tx, s *account.Resource, key, id string, content value, labels ...string) (map[string]any, error) {
	if id == "" {
		id = tx.UUID()
	}
	sealed, err := conceal(tx, s, key, id, content.content)
	if err != nil {
		return nil, err
	}
	v := map[string]any{"id": id, "created": tx.Now(), "stages": []any{}, "form": content.form, "sealed": sealed}
	list := append(props.List(s.Data, "versions"), v)
	s.Data["versions"] = list
	for _, l := range labels {
		label(s, v, l)
	}
	if len(list) > mostVersions {
		if i := slices.IndexFunc(list, func(x any) bool { return len(props.List(x, "stages")) == 0 }); i >= 0 {
			s.Data["versions"] = slices.Delete(slices.Clone(list), i, i+1)
		}
	}
	s.Data["Changed"] = tx.Now()
	mirror(s)
	return v, nil
}

// label moves a staging label to a version, or away if that is nil. AWSPREVIOUS
// follows AWSCURRENT.
// https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_UpdateSecretVersionStage.html
func label(s *account.Resource, to map[string]any, name string) {
	from := byLabel(s, name)
	if from != nil {
		from["stages"] = props.List(slices.DeleteFunc(props.Strs(from, "stages"), func(l string) bool { return l == name }))
	}
	if to == nil {
		return
	}
	to["stages"] = append(props.List(to, "stages"), name)
	if name == current && from != nil && props.Str(from, "id") != props.Str(to, "id") {
		label(s, from, previous)
	}
}

// mirror says which version is current.
func mirror(s *account.Resource) {
	delete(s.Data, "VersionId")
	if v := byLabel(s, current); v != nil {
		s.Data["VersionId"] = v["id"]
	}
}

// moveLabel is UpdateSecretVersionStage.
func moveLabel(_ *account.Tx, r *wire.Request, s *account.Resource) (any, error) {
	if err := present(s); err != nil {
		return nil, err
	}
	if err := own(s); err != nil {
		return nil, err
	}
	name, to, from := r.String("VersionStage"), r.String("MoveToVersionId"), r.String("RemoveFromVersionId")
	holder := props.Str(byLabel(s, name), "id")
	switch {
	case to == "" && from == "":
		return nil, account.Errorf("InvalidParameterException", "You must specify MoveToVersionId, RemoveFromVersionId or both.")
	case to != "" && byID(s, to) == nil:
		return nil, account.Errorf("ResourceNotFoundException", "Secrets Manager can't find the specified secret version: %s", to)
	case to == "" && name == current:
		return nil, account.Errorf("InvalidParameterException", "You can only move staging label AWSCURRENT to a different secret version. It can't be completely removed.")
	case from != "" && holder != from:
		return nil, account.Errorf("InvalidParameterException", "The staging label %s isn't attached to version %s.", name, from)
	case from == "" && holder != "" && holder != to:
		return nil, account.Errorf("InvalidParameterException", "The parameter RemoveFromVersionId can't be empty. Staging label %s is currently attached to version %s, so you must explicitly reference that version in RemoveFromVersionId.", name, holder)
	}
	label(s, byID(s, to), name)
	mirror(s)
	return map[string]any{"ARN": s.ID, "Name": s.Data["Name"]}, nil
}

// listVersions is ListSecretVersionIds.
func listVersions(_ *account.Tx, r *wire.Request, s *account.Resource) (any, error) {
	items := []any{}
	for _, v := range versions(s) {
		if len(props.List(v, "stages")) > 0 || r.Bool("IncludeDeprecated", false) {
			item := map[string]any{"VersionId": v["id"], "CreatedDate": v["created"]}
			// A deprecated version has no labels.
			if l := props.List(v, "stages"); len(l) > 0 {
				item["VersionStages"] = l
			}
			items = append(items, item)
		}
	}
	page, next, err := wire.Page(items, r.String("NextToken"), r.Int("MaxResults", 100), "InvalidNextTokenException")
	if err != nil {
		return nil, err
	}
	out := map[string]any{"ARN": s.ID, "Name": s.Data["Name"], "Versions": page}
	if next != "" {
		out["NextToken"] = next
	}
	return out, nil
}

// EventRotate asks the service that owns a secret, whose ARN is the event's
// id, to rotate it. It has no handler here.
const EventRotate = "secretsmanager:rotate"

// rotateSecret rotates what a service manages; other secrets would need a
// function.
// https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotate-secrets_managed.html
func rotateSecret(tx *account.Tx, r *wire.Request, s *account.Resource) (any, error) {
	if err := present(s); err != nil {
		return nil, err
	}
	switch {
	case r.Has("RotationLambdaARN"):
		return nil, account.NotModelled("rotation by a function is not modelled by the sandbox")
	case own(s) == nil:
		return nil, account.Errorf("InvalidRequestException", "No Lambda rotation function ARN is associated with this secret.")
	case r.Has("RotationRules"):
		return nil, account.NotModelled("RotationRules of RotateSecret is not modelled by the sandbox")
	case !r.Bool("RotateImmediately", true):
		return nil, account.NotModelled("rotations that wait for the next window are not modelled by the sandbox")
	}
	tx.After(0, account.Event{Kind: EventRotate, ID: s.ID})
	return map[string]any{"ARN": s.ID, "Name": s.Data["Name"], "VersionId": s.Data["VersionId"]}, nil
}
