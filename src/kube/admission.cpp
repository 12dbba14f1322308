#include "kube/admission.h"

#include <boost/json/array.hpp>

#include "kube/admission_rules.h"
#include "kube/names.h"

namespace mr::kube {

namespace {

// The structural schema of a version of a CRD, nullptr when there is none.
const Value* schema_of(const Kind& kind, const KindVersion& version) {
  if (const auto* all = kind.crd_schemas.if_object()) return all->if_contains(version.name);
  // The custom kinds that come with this program.
  return kind.crd && version.schema != nullptr ? &structural_schema(*version.schema) : nullptr;
}

// Quantities are kept in one form: "1000m" is "1", 1073741824 a text.
void canonical_quantity(Value& v) {
  if (!v.is_string() && !v.is_number()) return;
  auto given = v.is_string() ? std::string(std::string_view(v.get_string())) : rendered(v);
  if (auto form = canonical_quantity_text(given)) v = *form;
}
void canonical_quantities(const Field& f, Value& v) {
  if (f.container == Container::map) {
    if (auto* o = v.if_object())
      for (auto& m : *o) canonical_quantity(m.value());
  } else if (f.container == Container::list) {
    if (auto* a = v.if_array())
      for (auto& e : *a) canonical_quantity(e);
  } else {
    canonical_quantity(v);
  }
}

// Typed documents know no null: a member that is null is absent, a text of a map that is null is empty.
void drop_nulls(const Type& type, Object& o);
void drop_nulls(const Field& f, Value& v) {
  if (f.type != FieldType::object || f.ref == nullptr) return;
  if (f.container == Container::list) {
    if (auto* a = v.if_array())
      for (auto& e : *a)
        if (e.is_object()) drop_nulls(*f.ref, e.get_object());
  } else if (auto* o = v.if_object()) {
    if (f.container == Container::one)
      drop_nulls(*f.ref, *o);
    else
      for (auto& m : *o)
        if (m.value().is_object()) drop_nulls(*f.ref, m.value().get_object());
  }
}
void drop_nulls(const Type& type, Object& o) {
  std::vector<std::string> gone;
  for (auto& m : o) {
    const auto* f = type.find(m.key());
    const bool empty = (m.value().is_array() && m.value().get_array().empty()) ||
                       (m.value().is_object() && m.value().get_object().empty());
    // Lists and maps without anything in them are left out as well.
    if (m.value().is_null() || (empty && f != nullptr && f->container != Container::one && !f->required)) {
      gone.emplace_back(m.key());
      continue;
    }
    if (f == nullptr) continue;
    if (f->type == FieldType::quantity) canonical_quantities(*f, m.value());
    if (f->container == Container::map && f->type == FieldType::string && m.value().is_object())
      for (auto& text : m.value().get_object())
        if (text.value().is_null()) text.value() = "";
    drop_nulls(*f, m.value());
  }
  for (const auto& key : gone)
    if (auto it = o.find(key); it != o.end()) o.stable_erase(it);
}

void prune_type(const Type& type, Object& o, const std::string& path, std::vector<std::string>& removed);
void prune_value(const Type& type, Value& v, const std::string& path, std::vector<std::string>& removed) {
  if (auto* o = v.if_object()) prune_type(type, *o, path, removed);
}
void prune_type(const Type& type, Object& o, const std::string& path, std::vector<std::string>& removed) {
  std::vector<std::string> gone;
  for (auto& m : o) {
    const auto* f = type.find(m.key());
    if (f == nullptr) {
      if (type.preserve_unknown) continue;
      gone.emplace_back(m.key());
      removed.push_back(fmt::format("unknown field {}", in_quotes(sub(path, m.key()))));
      continue;
    }
    if (f->type != FieldType::object || f->ref == nullptr) continue;
    auto at = sub(path, m.key());
    if (f->container == Container::one) {
      prune_value(*f->ref, m.value(), at, removed);
    } else if (auto* list = m.value().if_array()) {
      for (std::size_t i = 0; i < list->size(); ++i) prune_value(*f->ref, (*list)[i], item(at, i), removed);
    } else if (auto* map = m.value().if_object()) {
      for (auto& e : *map) prune_value(*f->ref, e.value(), sub(at, e.key()), removed);
    }
  }
  for (const auto& key : gone)
    if (auto it = o.find(key); it != o.end()) o.stable_erase(it);
}

bool selects_mlflow(const Object& o) {
  const auto& labels = object_at(o, "spec.selector.matchLabels");
  for (std::string_view key : {"app", "app.kubernetes.io/name"})
    if (const auto* v = labels.if_contains(key); v != nullptr && v->is_string() && v->get_string() == "mlflow")
      return true;
  return false;
}

// The tracking server's registry changes objects by PATCH: a list of allowed methods without it breaks the registry.
bool leaves_out_patch(const Object& o) {
  auto action = text_at(o, "spec.action", "ALLOW");
  if (action != "ALLOW" || !selects_mlflow(o)) return false;
  for (const auto& rule : array_at(o, "spec.rules"))
    for (const auto& to : rule.is_object() ? array_at(rule.get_object(), "to") : Array{}) {
      if (!to.is_object()) continue;
      const auto& methods = array_at(to.get_object(), "operation.methods");
      if (methods.empty()) continue;
      bool has = false;
      for (const auto& m : methods) has |= m == "PATCH" || m == "*";
      if (!has) return true;
    }
  return false;
}

void pod_warnings(const Object& spec, const std::string& path, std::vector<std::string>& out) {
  for (std::string_view list : {"initContainers", "containers"}) {
    const auto& containers = array_at(spec, list);
    for (std::size_t i = 0; i < containers.size(); ++i) {
      if (!containers[i].is_object()) continue;
      const auto& c = containers[i].get_object();
      auto here = item(sub(path, list), i);
      std::set<std::string_view> names;
      const auto& env = array_at(c, "env");
      for (std::size_t j = 0; j < env.size(); ++j) {
        auto name = env[j].is_object() ? text_at(env[j].get_object(), "name") : std::string_view{};
        if (!name.empty() && !names.insert(name).second)
          out.push_back(fmt::format("{}: hides previous definition of {}, which may be dropped when using apply",
                                    item(sub(here, "env"), j), in_quotes(name)));
      }
      for (std::string_view which : {"limits", "requests"})
        for (std::string_view what : {"ephemeral-storage", "memory"}) {
          const auto* v = at(c, fmt::format("resources.{}.{}", which, what));
          if (v == nullptr || !v->is_string()) continue;
          if (auto milli = quantity_milli(std::string_view(v->get_string())); milli && *milli % 1000 != 0)
            out.push_back(fmt::format("{}.resources.{}[{}]: fractional byte value {} is invalid, must be an integer",
                                      here, which, what, in_quotes(std::string_view(v->get_string()))));
        }
      std::map<std::string, std::size_t> ports;
      const auto& list_of_ports = array_at(c, "ports");
      for (std::size_t j = 0; j < list_of_ports.size(); ++j) {
        if (!list_of_ports[j].is_object()) continue;
        const auto& p = list_of_ports[j].get_object();
        auto id = fmt::format("{}/{}/{}/{}", int_at(p, "containerPort"), text_at(p, "protocol", "TCP"),
                              text_at(p, "hostIP"), int_at(p, "hostPort"));
        auto [it, fresh] = ports.emplace(id, j);
        if (!fresh)
          out.push_back(fmt::format("{}: duplicate port definition with {}", item(sub(here, "ports"), j),
                                    item(sub(here, "ports"), it->second)));
      }
    }
  }
  const auto& secrets = array_at(spec, "imagePullSecrets");
  for (std::size_t i = 0; i < secrets.size(); ++i)
    if (secrets[i].is_object() && text_at(secrets[i].get_object(), "name").empty())
      out.push_back(fmt::format("{}.name: invalid empty name \"\"", item(sub(path, "imagePullSecrets"), i)));
}

// Where the pod's specification of a kind stands; nullopt: it has none.
std::optional<std::string_view> pod_spec_path(const Kind& kind) {
  if (kind.group.empty() && kind.kind == "Pod") return "spec";
  if (kind.group == "apps" && kind.kind != "ControllerRevision") return "spec.template.spec";
  if (kind.group == "batch" && kind.kind == "Job") return "spec.template.spec";
  if (kind.group == "batch" && kind.kind == "CronJob") return "spec.jobTemplate.spec.template.spec";
  return std::nullopt;
}

bool has_cel_rules(const Value& schema, int depth = 0) {
  if (depth > 64) return false;
  if (const auto* o = schema.if_object()) {
    if (o->contains("x-kubernetes-validations")) return true;
    for (const auto& m : *o)
      if (has_cel_rules(m.value(), depth + 1)) return true;
  } else if (const auto* a = schema.if_array()) {
    for (const auto& e : *a)
      if (has_cel_rules(e, depth + 1)) return true;
  }
  return false;
}

}  // namespace

void set_defaults(const Kind& kind, const KindVersion& version, Object& object) {
  if (const auto* schema = schema_of(kind, version)) {
    defaults_schema(*schema, object);
    defaults_other(kind, object);  // what the webhooks of KServe fill in
    return;
  }
  if (version.schema != nullptr) drop_nulls(*version.schema, object);
  if (kind.virtual_kind) return;
  if (kind.group.empty())
    defaults_core(kind.kind, object);
  else if (kind.group == "apps" || kind.group == "batch" || kind.group == "autoscaling")
    defaults_apps(kind.kind, object);
  else
    defaults_other(kind, object);
}

std::vector<FieldError> validate(const Kind& kind, const KindVersion& version, const Object& object,
                                 const Object* before) {
  FieldErrors e;
  if (kind.virtual_kind) return e;  // nothing of it is kept; who answers it judges it
  validate_meta(e, kind, object, before);
  if (const auto* schema = schema_of(kind, version)) {
    if (text_at(object, "kind") != kind.kind)
      e.push_back(invalid("kind", Value(text_at(object, "kind")), "must be " + kind.kind));
    validate_schema(e, *schema, Value(object), "");
    if (!e.empty()) return e;  // webhooks see only what fits the schema
  }
  if (kind.crd && version.schema != nullptr) {
    // Kinds that a CRD defines elsewhere (istio, KServe, Kubeflow): its structural schema speaks first, before any
    // webhook's rules. The status is written by controllers and is theirs to keep right.
    Object wanted = object;
    wanted.erase("status");
    validate_schema(e, structural_schema(*version.schema), Value(std::move(wanted)), "");
    if (!e.empty()) return e;
  }
  const auto& group = kind.group;
  if (group.empty()) {
    if (kind.kind == "Pod")
      validate_pod(e, object, before);
    else if (kind.kind == "Service" || kind.kind == "Endpoints")
      validate_service(e, kind.kind, object, before);
    else
      validate_core(e, kind.kind, object, before);
  } else if (group == "apps") {
    validate_apps(e, kind.kind, object, before);
  } else if (group == "batch") {
    validate_batch(e, kind.kind, object, before);
  } else if (group == "rbac.authorization.k8s.io") {
    validate_rbac(e, kind.kind, object, before);
  } else if (group == "networking.k8s.io" || group == "policy" || group == "coordination.k8s.io" ||
             group == "discovery.k8s.io" || group == "autoscaling") {
    validate_networking(e, kind.kind, object, before);
  } else if (group == "apiextensions.k8s.io") {
    validate_crd(e, object, before);
  } else if (group.ends_with("istio.io")) {
    validate_istio(e, kind.kind, object, before);
  } else if (group == "serving.kserve.io") {
    validate_kserve(e, kind.kind, object, before);
  } else if (group.ends_with("kubeflow.org")) {
    validate_kubeflow(e, kind.kind, object, before);
  }
  return e;
}

std::vector<std::string> prune(const Kind& kind, const KindVersion& version, Object& object) {
  std::vector<std::string> removed;
  if (const auto* schema = schema_of(kind, version)) {
    static const Type* meta = builtin_type("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
    if (auto* m = child(object, "metadata"); m != nullptr && meta != nullptr)
      prune_type(*meta, *m, "metadata", removed);
    prune_schema(*schema, object, true, "", removed);
  } else if (version.schema != nullptr)
    prune_type(*version.schema, object, "", removed);
  return removed;
}

std::vector<std::string> warnings(const Kind& kind, const KindVersion&, const Object& object) {
  std::vector<std::string> out;
  if (auto path = pod_spec_path(kind)) pod_warnings(object_at(object, *path), std::string(*path), out);
  if (kind.group == "security.istio.io") {
    out.push_back(fmt::format("{} is stored and shown; it is not enforced yet", kind.kind));
    if (kind.kind == "AuthorizationPolicy" && leaves_out_patch(object))
      out.emplace_back(
          "the methods of this policy leave out PATCH, which the MLflow model registry uses for updates: a mesh that "
          "enforces it refuses them with 403");
  } else if (kind.group.ends_with("istio.io") && kind.kind != "VirtualService" && kind.kind != "DestinationRule" &&
             kind.kind != "Gateway") {
    out.push_back(fmt::format("{} is stored, not enforced", kind.kind));
  } else if (kind.group == "networking.k8s.io" && kind.kind == "NetworkPolicy") {
    out.emplace_back("NetworkPolicy is stored and shown; it is not enforced yet");
  } else if (kind.kind == "CustomResourceDefinition" && has_cel_rules(Value(object))) {
    out.emplace_back("x-kubernetes-validations are stored; their rules are not evaluated");
  }
  return out;
}

}  // namespace mr::kube
