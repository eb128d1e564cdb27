package instance

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strconv"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

var templateName = regexp.MustCompile(`^[a-zA-Z0-9().\-/_]{3,128}$`)

func templateType() *account.Type {
	return &account.Type{
		Name: TypeLaunchTemplate, Latency: "ec2:launch-template",
		Create: createTemplate,
		Update: func(tx *account.Tx, r *account.Resource, next map[string]any) error {
			tags, err := templateTags(next)
			if err != nil {
				return err
			}
			changed := props.Changed(r.Props, next)
			if slices.Contains(changed, "LaunchTemplateData") || slices.Contains(changed, "VersionDescription") {
				if err := addVersion(tx, r, next); err != nil {
					return err
				}
			}
			// Its properties were accepted before.
			old, _ := templateTags(r.Props)
			for k := range old {
				delete(r.Tags, k)
			}
			maps.Copy(r.Tags, tags)
			return nil
		},
	}
}

func createTemplate(tx *account.Tx, r *account.Resource) error {
	name := cmp.Or(props.Str(r.Props, "LaunchTemplateName"), tx.Name(r, 128))
	if !templateName.MatchString(name) {
		return account.Errorf("InvalidLaunchTemplateName.MalformedException", "Launch template names must be between 3 and 128 characters, and may contain letters, numbers, and the following characters: - ( ) . / _.")
	}
	if findTemplate(tx, "", name) != nil {
		return account.Errorf("InvalidLaunchTemplateName.AlreadyExistsException", "Launch template name already in use.")
	}
	r.ID = "lt-" + tx.HexID(17)
	r.Attrs["LaunchTemplateId"] = r.ID
	r.Attrs["LaunchTemplateName"] = name
	r.Attrs["DefaultVersionNumber"] = "1"
	r.Status = "available"
	tags, err := templateTags(r.Props)
	if err != nil {
		return err
	}
	r.Tags = tags
	return addVersion(tx, r, r.Props)
}

// templateTags are the tags of the template itself.
func templateTags(p map[string]any) (map[string]string, error) {
	tags := map[string]string{}
	for _, s := range props.Maps(p, "TagSpecifications") {
		if kind := props.Str(s, "ResourceType"); kind != "launch-template" {
			return nil, invalid("'%s' is not a valid taggable resource type for this operation.", kind)
		}
		maps.Copy(tags, props.Tags(s, "Tags"))
	}
	return tags, nil
}

// addVersion makes the template data of p the latest version. The default
// version stays the first, as with CloudFormation.
func addVersion(tx *account.Tx, r *account.Resource, p map[string]any) error {
	data := props.Map(p, "LaunchTemplateData")
	if err := CheckData(tx, data); err != nil {
		return err
	}
	versions := props.List(r.Data, "versions")
	number := len(versions) + 1
	r.Data["versions"] = append(versions, map[string]any{
		"number": number, "data": account.Copy(data), "description": props.Str(p, "VersionDescription"), "created": tx.Now(), "by": r.Owner,
	})
	r.Attrs["LatestVersionNumber"] = strconv.Itoa(number)
	return nil
}

func findTemplate(tx *account.Tx, id, name string) *account.Resource {
	if id != "" {
		return tx.Get(TypeLaunchTemplate, id)
	}
	return tx.Find(TypeLaunchTemplate, func(r *account.Resource) bool { return props.Str(r.Attrs, "LaunchTemplateName") == name })
}

// FindTemplate returns a launch template by id or, if that is empty, by name.
// Errors: InvalidLaunchTemplateId.NotFound and
// InvalidLaunchTemplateName.NotFoundException.
func FindTemplate(tx *account.Tx, id, name string) (*account.Resource, error) {
	if r := findTemplate(tx, id, name); r != nil {
		return r, nil
	}
	if id != "" {
		return nil, account.Errorf("InvalidLaunchTemplateId.NotFound", "The specified launch template, with template ID %s, does not exist.", id)
	}
	return nil, account.Errorf("InvalidLaunchTemplateName.NotFoundException", "The specified launch template, with template name %s, does not exist.", name)
}

// TemplateData returns the LaunchTemplateData of a version of a template, not
// to be changed, and the version's number. The version is a number, "$Latest"
// or "$Default"; empty means the default one. Error:
// InvalidLaunchTemplateId.VersionNotFound.
func TemplateData(r *account.Resource, version string) (map[string]any, int, error) {
	number := 1
	switch version {
	case "", "$Default":
	case "$Latest":
		number, _ = strconv.Atoi(props.Str(r.Attrs, "LatestVersionNumber"))
	default:
		var err error
		if number, err = strconv.Atoi(version); err != nil {
			number = 0
		}
	}
	for _, v := range props.Maps(r.Data, "versions") {
		if props.Int(v, 0, "number") == number {
			return props.Map(v, "data"), number, nil
		}
	}
	return nil, 0, account.Errorf("InvalidLaunchTemplateId.VersionNotFound", "Could not find the specified version %s for the launch template with ID %s.", version, r.ID)
}

// Versions are the versions of a template, first to last: objects with number,
// data, description, created and by.
func Versions(r *account.Resource) []map[string]any { return props.Maps(r.Data, "versions") }

// device0 is the template's first interface, nil if it describes none.
func device0(data map[string]any) map[string]any {
	for _, i := range props.Maps(data, "NetworkInterfaces") {
		if props.Int(i, 0, "DeviceIndex") == 0 {
			return i
		}
	}
	return nil
}

// Interface0 is the id of the existing interface that a template makes the
// instance's first, "" if it names none. It decides the zone, and no second
// instance can be launched while the first has it.
func Interface0(data map[string]any) string { return props.Str(device0(data), "NetworkInterfaceId") }

// Groups are the security groups that template data names.
func Groups(data map[string]any) []string {
	if groups := props.Strs(device0(data), "Groups"); len(groups) > 0 {
		return groups
	}
	return props.Strs(data, "SecurityGroupIds")
}
