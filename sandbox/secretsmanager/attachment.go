package secretsmanager

import (
	"encoding/json"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// TypeAttachment joins a secret and a database; its id is the secret's ARN.
const TypeAttachment = "AWS::SecretsManager::SecretTargetAttachment"

const typeInstance = "AWS::RDS::DBInstance"

// attachmentType writes how to reach a database into the secret with its
// credentials.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-secretsmanager-secrettargetattachment.html
func attachmentType() *account.Type {
	attach := func(tx *account.Tx, p map[string]any) (*account.Resource, error) {
		if kind := props.Str(p, "TargetType"); kind != typeInstance {
			return nil, account.NotModelled("secrets for targets of type %s are not modelled by the sandbox", kind)
		}
		s, err := Lookup(tx, props.Str(p, "SecretId"))
		if err != nil {
			return nil, err
		}
		db := tx.Get(typeInstance, props.Str(p, "TargetId"))
		if db == nil {
			return nil, account.Errorf("InvalidParameterException", "DBInstance %s not found.", props.Str(p, "TargetId"))
		}
		return s, edit(tx, s, func(v map[string]any) {
			v["engine"], v["dbInstanceIdentifier"] = db.Props["Engine"], db.ID
			v["host"], v["port"] = db.Attrs["Endpoint.Address"], json.Number(props.Str(db.Attrs, "Endpoint.Port"))
			if name := props.Str(db.Props, "DBName"); name != "" {
				v["dbname"] = name
			}
		})
	}
	return &account.Type{
		Name: TypeAttachment, Latency: "secretsmanager:secret",
		Create: func(tx *account.Tx, r *account.Resource) error {
			s, err := attach(tx, r.Props)
			if err != nil {
				return err
			}
			if tx.Get(TypeAttachment, s.ID) != nil {
				return account.Errorf("AlreadyExists", "Secret %s is already attached to a target.", s.ID)
			}
			r.ID, r.Attrs["Id"] = s.ID, s.ID
			return nil
		},
		Update: func(tx *account.Tx, _ *account.Resource, next map[string]any) error {
			_, err := attach(tx, next)
			return err
		},
		Delete: func(tx *account.Tx, r *account.Resource) error {
			s := tx.Get(TypeSecret, r.ID)
			if s == nil {
				return nil
			}
			return edit(tx, s, func(v map[string]any) {
				for _, k := range []string{"engine", "dbInstanceIdentifier", "host", "port", "dbname"} {
					delete(v, k)
				}
			})
		},
	}
}

// edit changes the members of a secret whose value is a JSON object.
func edit(tx *account.Tx, s *account.Resource, f func(map[string]any)) error {
	content, _, err := Reveal(tx, s)
	if err != nil {
		return err
	}
	v := map[string]any{}
	if err := json.Unmarshal([]byte(content), &v); err != nil {
		return account.Errorf("InvalidRequestException", "The secret's value is not a JSON object.")
	}
	f(v)
	out, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return write(tx, s, keyOf(s.Props), string(out))
}
