package ssm

import (
	"slices"
	"strconv"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// Service returns the API of Parameter Store and Session Manager.
func Service() wire.Service {
	return wire.Service{
		Name: "ssm", Target: "AmazonSSM", Protocol: wire.JSON11,
		Operations: append(sessionOperations(), []wire.Operation{
			{Name: "PutParameter", Do: putParameter},
			{Name: "GetParameter", Do: getParameter},
			{Name: "GetParameters", Do: getParameters},
			{Name: "GetParametersByPath", Do: getParametersByPath},
			{Name: "DescribeParameters", Do: describeParameters},
			{Name: "DeleteParameter", Do: deleteParameter},
			{Name: "DeleteParameters", Do: deleteParameters},
			{Name: "ListTagsForResource", Do: onResource(func(_ *wire.Request, p *account.Resource) (any, error) {
				return map[string]any{"TagList": props.Pairs(p.Tags)}, nil
			})},
			{Name: "AddTagsToResource", Do: onResource(func(r *wire.Request, p *account.Resource) (any, error) {
				more := props.Tags(r.In, "Tags")
				if len(more)+len(p.Tags) > 50 {
					return nil, account.Errorf("TooManyTagsError", "The Targets parameter includes too many tags.")
				}
				for k, v := range more {
					p.Tags[k] = v
				}
				return nil, nil
			})},
			{Name: "RemoveTagsFromResource", Do: onResource(func(r *wire.Request, p *account.Resource) (any, error) {
				for _, k := range r.Strings("TagKeys") {
					delete(p.Tags, k)
				}
				return nil, nil
			})},
		}...),
	}
}

// plain is the parameter's name in what may be an ARN.
func plain(tx *account.Tx, name string) string {
	if rest, ok := strings.CutPrefix(name, tx.ARN("ssm", "parameter/")); ok {
		if tx.Get(TypeParameter, "/"+rest) != nil {
			return "/" + rest
		}
		return rest
	}
	return name
}

// find returns a parameter and its value in the version that a selector asks
// for: "name:3".
func find(tx *account.Tx, ref string) (p *account.Resource, version int, value string, err error) {
	name, selector := plain(tx, ref), ""
	if i := strings.LastIndex(name, ":"); i > 0 {
		name, selector = name[:i], name[i+1:]
	}
	if p = tx.Get(TypeParameter, name); p == nil {
		return nil, 0, "", missing(name)
	}
	if selector == "" {
		return p, props.Int(p.Data, 1, "Version"), props.Str(p.Props, "Value"), nil
	}
	want, convErr := strconv.Atoi(selector)
	for _, h := range props.Maps(p.Data, "History") {
		if convErr == nil && props.Int(h, 0, "Version") == want {
			return p, want, props.Str(h, "Value"), nil
		}
	}
	return nil, 0, "", account.Errorf("ParameterVersionNotFound", "Systems Manager could not find version %s of %s. Verify the version and try again.", selector, name)
}

// missing is the refusal of a parameter that isn't there. AWS's own public ones
// aren't modelled.
func missing(name string) error {
	if strings.HasPrefix(name, "/aws/service/") {
		return account.NotModelled("the public parameter %s is not modelled by the sandbox", name)
	}
	return account.Errorf("ParameterNotFound", "")
}

// view shows a secure parameter's ciphertext to who doesn't ask for more.
func view(tx *account.Tx, p *account.Resource, version int, value string, decrypt bool) (map[string]any, error) {
	if decrypt {
		var err error
		if value, err = reveal(tx, p, value); err != nil {
			return nil, err
		}
	}
	return map[string]any{
		"Name": p.ID, "Type": kind(p.Props), "Value": value, "Version": version, "LastModifiedDate": p.Data["Modified"], "ARN": arn(tx, p.ID), "DataType": dataType(p),
	}, nil
}

func dataType(p *account.Resource) string {
	if t := props.Str(p.Props, "DataType"); t != "" {
		return t
	}
	return "text"
}

func putParameter(tx *account.Tx, r *wire.Request) (any, error) {
	name, overwrite := plain(tx, r.String("Name")), r.Bool("Overwrite", false)
	if name == "" {
		return nil, account.Errorf("ValidationException", "1 validation error detected: Value '' at 'name' failed to satisfy constraint: Member must have length greater than or equal to 1")
	}
	tags := props.Tags(r.In, "Tags")
	if overwrite && len(tags) > 0 {
		return nil, account.Errorf("ValidationException", "Invalid request: tags and overwrite can't be used together. To create a parameter with tags, please remove overwrite flag. To update tags for an existing parameter, please use AddTagsToResource or RemoveTagsFromResource.")
	}
	p := map[string]any{"Name": name}
	for _, k := range []string{"Value", "Type", "Description", "AllowedPattern", "DataType", "Tier", "KeyId", "Policies"} {
		if r.Has(k) {
			p[k] = r.String(k)
		}
	}
	old := tx.Get(TypeParameter, name)
	r.Resource = arn(tx, name)
	if old != nil && overwrite {
		for _, k := range []string{"Type", "Description", "AllowedPattern", "DataType", "Tier", "KeyId", "Tags"} {
			if _, ok := p[k]; !ok && old.Props[k] != nil {
				p[k] = old.Props[k]
			}
		}
		if _, err := tx.Update(old, p, false); err != nil {
			return nil, err
		}
		return map[string]any{"Version": props.Int(old.Data, 1, "Version"), "Tier": tier(old.Props)}, nil
	}
	if old == nil && p["Type"] == nil {
		return nil, account.Errorf("ValidationException", "A parameter type is required when you create a parameter.")
	}
	made, _, err := tx.Create(TypeParameter, p, tx.Caller, false)
	if err != nil {
		return nil, err
	}
	made.Tags = tags
	return map[string]any{"Version": 1, "Tier": tier(made.Props)}, tx.Settle(made, "create")
}

func getParameter(tx *account.Tx, r *wire.Request) (any, error) {
	p, version, value, err := find(tx, r.String("Name"))
	if err != nil {
		return nil, err
	}
	r.Resource = arn(tx, p.ID)
	v, err := view(tx, p, version, value, r.Bool("WithDecryption", false))
	return map[string]any{"Parameter": v}, err
}

func getParameters(tx *account.Tx, r *wire.Request) (any, error) {
	names := r.Strings("Names")
	if len(names) == 0 || len(names) > 10 {
		return nil, account.Errorf("ValidationException", "1 validation error detected: Value at 'names' failed to satisfy constraint: Member must have length between 1 and 10")
	}
	found, unknown := []any{}, []any{}
	for _, name := range names {
		p, version, value, err := find(tx, name)
		if account.IsNotModelled(err) {
			return nil, err
		}
		if err != nil {
			unknown = append(unknown, name)
			continue
		}
		v, err := view(tx, p, version, value, r.Bool("WithDecryption", false))
		if err != nil {
			return nil, err
		}
		found = append(found, v)
	}
	return map[string]any{"Parameters": found, "InvalidParameters": unknown}, nil
}

// below tells whether a name lies under a path: directly, or at any depth.
func below(name, path string, recursive bool) bool {
	rest, ok := strings.CutPrefix(name, strings.TrimSuffix(path, "/")+"/")
	return ok && (recursive || !strings.Contains(rest, "/"))
}

func getParametersByPath(tx *account.Tx, r *wire.Request) (any, error) {
	path := r.String("Path")
	if !strings.HasPrefix(path, "/") {
		return nil, account.Errorf("ValidationException", "The parameter path must begin with a slash symbol(/). It can't include other special characters.")
	}
	items := []any{}
	for _, f := range r.Maps("ParameterFilters") {
		if props.Str(f, "Key") == "" {
			return nil, account.Errorf("ValidationException", "1 validation error detected: Value null at 'parameterFilters.1.member.key' failed to satisfy constraint: Member must not be null")
		}
	}
	for _, p := range tx.List(TypeParameter) {
		ok, err := filtered(p, r.Maps("ParameterFilters"))
		if err != nil {
			return nil, err
		}
		if ok && below(p.ID, path, r.Bool("Recursive", false)) {
			v, err := view(tx, p, props.Int(p.Data, 1, "Version"), props.Str(p.Props, "Value"), r.Bool("WithDecryption", false))
			if err != nil {
				return nil, err
			}
			items = append(items, v)
		}
	}
	return paged(r, items, 10)
}

func paged(r *wire.Request, items []any, most int) (any, error) {
	limit := r.Int("MaxResults", most)
	if limit < 1 || limit > most {
		return nil, account.Errorf("ValidationException", "1 validation error detected: Value '%d' at 'maxResults' failed to satisfy constraint: Member must have value between 1 and %d", limit, most)
	}
	page, next, err := wire.Page(items, r.String("NextToken"), limit, "InvalidNextToken")
	if err != nil {
		return nil, err
	}
	out := map[string]any{"Parameters": page}
	if next != "" {
		out["NextToken"] = next
	}
	return out, nil
}

// filtered tells whether a parameter passes all filters.
// https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_ParameterStringFilter.html
func filtered(p *account.Resource, filters []map[string]any) (bool, error) {
	for _, f := range filters {
		key, option, values := props.Str(f, "Key"), props.Str(f, "Option"), props.Strs(f, "Values")
		match := func(have string) bool {
			return slices.ContainsFunc(values, func(want string) bool {
				switch option {
				case "BeginsWith":
					return strings.HasPrefix(have, want)
				case "Contains":
					return strings.Contains(have, want)
				}
				return have == want
			})
		}
		var ok bool
		switch tag, isTag := strings.CutPrefix(key, "tag:"); {
		case isTag:
			v, has := p.Tags[tag]
			ok = has && (len(values) == 0 || match(v))
		case key == "Path":
			ok = slices.ContainsFunc(values, func(path string) bool { return below(p.ID, path, option == "Recursive") })
		case key == "Name":
			ok = match(p.ID)
		case key == "Type":
			ok = match(kind(p.Props))
		case key == "Tier":
			ok = match(tier(p.Props))
		case key == "DataType":
			ok = match(dataType(p))
		case key == "KeyId":
			ok = match(props.Str(p.Props, "KeyId"))
		default:
			return false, account.Errorf("InvalidFilterKey", "The following filter key is not valid: %s. Valid filter keys include: [Path, Name, Type, KeyId, Tier, DataType, tag].", key)
		}
		if !ok {
			return false, nil
		}
	}
	return true, nil
}

func describeParameters(tx *account.Tx, r *wire.Request) (any, error) {
	filters := r.Maps("ParameterFilters")
	for _, f := range r.Maps("Filters") {
		// The older form of filters compares beginnings of names.
		old := map[string]any{"Key": f["Key"], "Values": f["Values"]}
		if f["Key"] == "Name" {
			old["Option"] = "BeginsWith"
		}
		filters = append(filters, old)
	}
	items := []any{}
	for _, p := range tx.List(TypeParameter) {
		ok, err := filtered(p, filters)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		m := map[string]any{
			"Name": p.ID, "ARN": arn(tx, p.ID), "Type": kind(p.Props), "Version": props.Int(p.Data, 1, "Version"), "Tier": tier(p.Props), "DataType": dataType(p),
			"LastModifiedDate": p.Data["Modified"], "LastModifiedUser": p.Data["ModifiedBy"], "Policies": []any{},
		}
		for _, k := range []string{"Description", "AllowedPattern", "KeyId"} {
			if v := props.Str(p.Props, k); v != "" {
				m[k] = v
			}
		}
		items = append(items, m)
	}
	return paged(r, items, 50)
}

func drop(tx *account.Tx, p *account.Resource) error {
	if _, err := tx.Delete(p, false); err != nil {
		return err
	}
	return tx.Settle(p, "delete")
}

func deleteParameter(tx *account.Tx, r *wire.Request) (any, error) {
	p := tx.Get(TypeParameter, plain(tx, r.String("Name")))
	if p == nil {
		return nil, account.Errorf("ParameterNotFound", "")
	}
	r.Resource = arn(tx, p.ID)
	return nil, drop(tx, p)
}

func deleteParameters(tx *account.Tx, r *wire.Request) (any, error) {
	deleted, missing := []any{}, []any{}
	for _, name := range r.Strings("Names") {
		p := tx.Get(TypeParameter, plain(tx, name))
		if p == nil {
			missing = append(missing, name)
			continue
		}
		if err := drop(tx, p); err != nil {
			return nil, err
		}
		deleted = append(deleted, name)
	}
	return map[string]any{"DeletedParameters": deleted, "InvalidParameters": missing}, nil
}

func onResource(do func(*wire.Request, *account.Resource) (any, error)) func(*account.Tx, *wire.Request) (any, error) {
	return func(tx *account.Tx, r *wire.Request) (any, error) {
		if t := r.String("ResourceType"); t != "Parameter" {
			return nil, account.NotModelled("tags of %s are not modelled by the sandbox", t)
		}
		p := tx.Get(TypeParameter, plain(tx, r.String("ResourceId")))
		if p == nil {
			return nil, account.Errorf("InvalidResourceId", "The resource ID is not valid. Verify that you entered the correct ID and try again.")
		}
		r.Resource = arn(tx, p.ID)
		return do(r, p)
	}
}
