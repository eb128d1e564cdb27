package main

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
)

// propDef is the type of a property, and what else is known about it. It is
// the format of facts.json.
type propDef struct {
	Type     string     `json:"type"` // string integer number boolean json list map object union
	Item     *propDef   `json:"item,omitempty"`
	Ref      string     `json:"ref,omitempty"`
	Of       []*propDef `json:"of,omitempty"`
	Required bool       `json:"required,omitempty"`
	Replace  string     `json:"replace,omitempty"` // yes maybe
	Enum     []any      `json:"enum,omitempty"`

	relations []relation
}

// relation is what a property may refer to.
type relation struct {
	Type     string `json:"cloudFormationType"`
	Property string `json:"propertyName"`
}

type properties map[string]*propDef

// resourceType is one resource type as facts.json shows it.
type resourceType struct {
	ID          []string              `json:"id"`
	Attributes  map[string]string     `json:"attributes,omitempty"`
	Properties  properties            `json:"properties"`
	Definitions map[string]properties `json:"definitions,omitempty"`

	name   string
	tags   string            // the property that holds tags
	tagMap bool              // and whether it is a map
	origin map[string]string // the database's id of each definition
}

// The shape of db.json.
type (
	dbProperty struct {
		Type              dbType     `json:"type"`
		Required          bool       `json:"required"`
		CausesReplacement string     `json:"causesReplacement"`
		RelationshipRefs  []relation `json:"relationshipRefs"`
	}
	dbType struct {
		Type          string   `json:"type"`
		Element       *dbType  `json:"element"`
		Types         []dbType `json:"types"`
		AllowedValues []any    `json:"allowedValues"`
		Reference     struct {
			ID string `json:"$ref"`
		} `json:"reference"`
	}
	dbDefinition struct {
		ID         string                `json:"$id"`
		Name       string                `json:"name"`
		Properties map[string]dbProperty `json:"properties"`
	}
	dbResource struct {
		CloudFormationType string                `json:"cloudFormationType"`
		PrimaryIdentifier  []string              `json:"primaryIdentifier"`
		CfnRefIdentifier   []string              `json:"cfnRefIdentifier"`
		Properties         map[string]dbProperty `json:"properties"`
		Attributes         map[string]struct {
			Type dbType `json:"type"`
		} `json:"attributes"`
		TagInformation struct {
			TagPropertyName string `json:"tagPropertyName"`
			Variant         string `json:"variant"`
		} `json:"tagInformation"`
		AdditionalReplacementProperties [][]string `json:"additionalReplacementProperties"`
	}
	db struct {
		Schema struct {
			Resource struct {
				Entities []dbResource `json:"entities"`
			} `json:"resource"`
			TypeDefinition struct {
				Entities []dbDefinition `json:"entities"`
			} `json:"typeDefinition"`
		} `json:"schema"`
	}
)

// load reads the named resource types.
func load(path string, names []string) (map[string]*resourceType, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open specification: %w", err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("unpack %s: %w", path, err)
	}
	var spec db
	if err := json.NewDecoder(z).Decode(&spec); err != nil {
		return nil, fmt.Errorf("decode %s: %w", path, err)
	}
	c := converter{definitions: map[string]dbDefinition{}}
	for _, d := range spec.Schema.TypeDefinition.Entities {
		c.definitions[d.ID] = d
	}
	types := map[string]*resourceType{}
	for _, r := range spec.Schema.Resource.Entities {
		if !slices.Contains(names, r.CloudFormationType) {
			continue
		}
		if types[r.CloudFormationType], err = c.resource(r); err != nil {
			return nil, fmt.Errorf("convert %s: %w", r.CloudFormationType, err)
		}
	}
	for _, name := range names {
		if types[name] == nil {
			return nil, fmt.Errorf("find %s in %s: no such type", name, path)
		}
	}
	return types, nil
}

type converter struct {
	definitions map[string]dbDefinition
}

func (c converter) resource(r dbResource) (*resourceType, error) {
	out := &resourceType{
		ID:          r.CfnRefIdentifier,
		Attributes:  map[string]string{},
		Definitions: map[string]properties{},
		name:        r.CloudFormationType,
		tags:        r.TagInformation.TagPropertyName,
		tagMap:      r.TagInformation.Variant == "map",
		origin:      map[string]string{},
	}
	if out.ID == nil {
		out.ID = r.PrimaryIdentifier
	}
	if len(r.AdditionalReplacementProperties) > 0 {
		return nil, fmt.Errorf("additionalReplacementProperties are not modelled")
	}
	for name, a := range r.Attributes {
		d, err := c.convert(a.Type, out)
		if err != nil {
			return nil, fmt.Errorf("attribute %s: %w", name, err)
		}
		out.Attributes[name] = d.Type
	}
	// Attributes' own definitions are no part of what a template may write.
	clear(out.Definitions)
	clear(out.origin)
	var err error
	out.Properties, err = c.properties(r.Properties, out)
	return out, err
}

func (c converter) properties(in map[string]dbProperty, r *resourceType) (properties, error) {
	out := properties{}
	for name, p := range in {
		d, err := c.convert(p.Type, r)
		if err != nil {
			return nil, fmt.Errorf("property %s: %w", name, err)
		}
		d.Required = p.Required
		if p.CausesReplacement != "no" {
			d.Replace = p.CausesReplacement
		}
		d.relations = p.RelationshipRefs
		out[name] = d
	}
	return out, nil
}

// convert turns a type of the database into ours and adds the definitions it
// needs to the resource.
func (c converter) convert(t dbType, r *resourceType) (*propDef, error) {
	switch t.Type {
	case "string", "integer", "number", "boolean", "json":
		return &propDef{Type: t.Type, Enum: t.AllowedValues}, nil
	case "date-time":
		return &propDef{Type: "string"}, nil
	case "tag":
		if err := r.define("Tag", ""); err != nil {
			return nil, err
		}
		r.Definitions["Tag"] = properties{
			"Key":   {Type: "string", Required: true},
			"Value": {Type: "string", Required: true},
		}
		return &propDef{Type: "object", Ref: "Tag"}, nil
	case "array", "map":
		item, err := c.convert(*t.Element, r)
		if err != nil {
			return nil, err
		}
		return &propDef{Type: strings.Replace(t.Type, "array", "list", 1), Item: item}, nil
	case "union":
		out := &propDef{Type: "union"}
		for _, member := range t.Types {
			d, err := c.convert(member, r)
			if err != nil {
				return nil, err
			}
			out.Of = append(out.Of, d)
		}
		return out, nil
	case "ref":
		return c.reference(t.Reference.ID, r)
	}
	return nil, fmt.Errorf("type %q is not modelled", t.Type)
}

func (c converter) reference(id string, r *resourceType) (*propDef, error) {
	d, ok := c.definitions[id]
	if !ok {
		return nil, fmt.Errorf("definition %s is missing", id)
	}
	out := &propDef{Type: "object", Ref: d.Name}
	known := r.Definitions[d.Name] != nil
	if err := r.define(d.Name, id); known || err != nil {
		return out, err
	}
	r.Definitions[d.Name] = properties{} // ends the recursion of definitions
	props, err := c.properties(d.Properties, r)
	if err != nil {
		return nil, fmt.Errorf("definition %s: %w", d.Name, err)
	}
	r.Definitions[d.Name] = props
	return out, nil
}

// define notes where a definition comes from: a name can mean one thing only.
func (r *resourceType) define(name, id string) error {
	if known, ok := r.origin[name]; ok && known != id {
		return fmt.Errorf("definition %s has two meanings", name)
	}
	r.origin[name] = id
	return nil
}
