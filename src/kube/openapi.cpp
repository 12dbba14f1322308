#include <set>

#include "json/parse.h"
#include "json/writer.h"
#include "kube/wire.h"
#include "kube/wire_common.h"

namespace mr::kube {

namespace {

using json::Writer;
using wire::GroupVersion;

constexpr std::string_view meta_package = "io.k8s.apimachinery.pkg.apis.meta.v1.";

// Field types that have a component of their own in a real server's documents.
struct Named {
  FieldType type;
  std::string_view name, schema;
};
constexpr Named named[] = {
    {FieldType::time, "io.k8s.apimachinery.pkg.apis.meta.v1.Time",
     R"({"description":"A moment, as RFC 3339 writes it: 2026-01-31T09:30:00Z.","type":"string","format":"date-time"})"},
    {FieldType::micro_time, "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime",
     R"({"description":"A moment with microseconds, as RFC 3339 writes it.","type":"string","format":"date-time"})"},
    {FieldType::duration, "io.k8s.apimachinery.pkg.apis.meta.v1.Duration",
     R"({"description":"A length of time: 300ms, 1.5h, 2h45m.","type":"string"})"},
    {FieldType::quantity, "io.k8s.apimachinery.pkg.api.resource.Quantity",
     R"({"description":"An amount: a number with an optional suffix, decimal (m, k, M, G, T) or binary (Ki, Mi, Gi, Ti).",)"
     R"("oneOf":[{"type":"string"},{"type":"number"}]})"},
    {FieldType::int_or_string, "io.k8s.apimachinery.pkg.util.intstr.IntOrString",
     R"({"description":"A number, or a text: a port by its number or its name, a count or a percentage.",)"
     R"("format":"int-or-string","oneOf":[{"type":"integer"},{"type":"string"}]})"},
};

struct Components {
  std::set<const Type*> types;
  std::set<FieldType> scalars;

  void add(const Type* t) {
    if (!t || !types.insert(t).second) return;
    for (const auto& f : t->fields) {
      add(f.ref);
      scalars.insert(f.type);
    }
  }
};

void reference(Writer& w, std::string_view name) { w.field("$ref", fmt::format("#/components/schemas/{}", name)); }

// The members of the schema of one value; `doc` goes beside them.
void value_schema(Writer& w, const Field& f, std::string_view doc) {
  std::string_view name;
  if (f.type == FieldType::object) {
    name = f.ref->name;
  } else if (const auto* n = std::ranges::find(named, f.type, &Named::type); n != std::end(named)) {
    name = n->name;
  }
  if (!name.empty()) {
    if (doc.empty()) {
      reference(w, name);
      return;
    }
    w.field("description", doc);
    w.key("allOf");
    w.begin_array();
    w.begin_object();
    reference(w, name);
    w.end_object();
    w.end_array();
    return;
  }
  if (!doc.empty()) w.field("description", doc);
  auto simple = [&](std::string_view type, std::string_view format = {}) {
    w.field("type", type);
    if (!format.empty()) w.field("format", format);
  };
  switch (f.type) {
    case FieldType::string:
      simple("string");
      break;
    case FieldType::boolean:
      simple("boolean");
      break;
    case FieldType::int32:
      simple("integer", "int32");
      break;
    case FieldType::int64:
      simple("integer", "int64");
      break;
    case FieldType::number:
      simple("number", "double");
      break;
    case FieldType::bytes:
      simple("string", "byte");
      break;
    default:
      w.field("x-kubernetes-preserve-unknown-fields", true);
  }
  if (!f.enums.empty()) {
    w.key("enum");
    w.begin_array();
    for (const auto& e : f.enums) w.string(e);
    w.end_array();
  }
  if (!f.fallback.empty()) w.field("default", f.fallback);
}

void field_schema(Writer& w, const Field& f) {
  w.begin_object();
  if (f.container == Container::one) {
    value_schema(w, f, f.doc);
  } else {
    const bool list = f.container == Container::list;
    if (!f.doc.empty()) w.field("description", f.doc);
    w.field("type", std::string_view(list ? "array" : "object"));
    w.key(list ? "items" : "additionalProperties");
    w.begin_object();
    value_schema(w, f, {});
    w.end_object();
  }
  if (f.nullable) w.field("nullable", true);
  if (f.container == Container::list) {
    constexpr std::string_view kinds[] = {"atomic", "set", "map"};
    w.field("x-kubernetes-list-type", kinds[static_cast<std::size_t>(f.list_kind)]);
    if (!f.list_keys.empty()) {
      w.key("x-kubernetes-list-map-keys");
      w.begin_array();
      for (const auto& k : f.list_keys) w.string(k);
      w.end_array();
    }
  } else if (f.atomic_map) {
    w.field("x-kubernetes-map-type", std::string_view("atomic"));
  }
  if (f.merge || f.retain_keys) {
    w.field("x-kubernetes-patch-strategy", std::string_view(f.merge && f.retain_keys ? "merge,retainKeys"
                                                            : f.merge                ? "merge"
                                                                                     : "retainKeys"));
    if (!f.merge_key.empty()) w.field("x-kubernetes-patch-merge-key", f.merge_key);
  }
  w.end_object();
}

void gvk_object(Writer& w, std::string_view group, std::string_view version, std::string_view kind) {
  w.begin_object();
  w.field("group", group);
  w.field("kind", kind);
  w.field("version", version);
  w.end_object();
}

void gvk_list(Writer& w, std::string_view group, std::string_view version, const std::vector<std::string>& kinds) {
  if (kinds.empty()) return;
  w.key("x-kubernetes-group-version-kind");
  w.begin_array();
  for (const auto& k : kinds) gvk_object(w, group, version, k);
  w.end_array();
}

void type_schema(Writer& w, const Type& t, const GroupVersion& gv, const std::vector<std::string>& kinds) {
  w.begin_object();
  if (!t.doc.empty()) w.field("description", t.doc);
  w.field("type", std::string_view("object"));
  w.key("properties");
  w.begin_object();
  bool any_required = false;
  for (const auto& f : t.fields) {
    any_required |= f.required;
    w.key(f.name);
    field_schema(w, f);
  }
  w.end_object();
  if (any_required) {
    w.key("required");
    w.begin_array();
    for (const auto& f : t.fields)
      if (f.required) w.string(f.name);
    w.end_array();
  }
  if (t.preserve_unknown) w.field("x-kubernetes-preserve-unknown-fields", true);
  gvk_list(w, gv.group, gv.version, kinds);
  w.end_object();
}

// "com.example.stable.v1.CronTab": how a real server names a custom kind's component.
std::string component_name(const Kind& kind, const KindVersion& v) {
  if (v.schema && kind.crd_schemas.is_null()) return v.schema->name;
  std::string reversed;
  std::string_view rest = kind.group;
  while (!rest.empty()) {
    const auto dot = rest.rfind('.');
    reversed += rest.substr(dot == std::string_view::npos ? 0 : dot + 1);
    reversed += '.';
    rest = dot == std::string_view::npos ? std::string_view{} : rest.substr(0, dot);
  }
  return fmt::format("{}{}.{}", reversed, v.name, kind.kind);
}

// A custom kind's component: the schema of its definition, with what every object has.
void custom_schema(Writer& w, const Kind& kind, const KindVersion& v) {
  const Value* given = kind.crd_schemas.is_object() ? kind.crd_schemas.as_object().if_contains(v.name) : nullptr;
  Object schema = given && given->is_object() ? given->as_object() : Object{{"type", "object"}};
  if (!given || !given->is_object()) schema["x-kubernetes-preserve-unknown-fields"] = true;
  auto& properties = schema["properties"];
  if (!properties.is_object()) properties = Object{};
  auto& p = properties.as_object();
  p["apiVersion"] = Object{{"type", "string"}, {"description", "Group and version of this object's form."}};
  p["kind"] = Object{{"type", "string"}, {"description", "Name of the kind of this object."}};
  p["metadata"] =
      Object{{"description", "Name, labels and the other things that every object has."},
             {"allOf", Array{Object{{"$ref", fmt::format("#/components/schemas/{}ObjectMeta", meta_package)}}}}};
  schema["x-kubernetes-group-version-kind"] =
      Array{Object{{"group", kind.group}, {"kind", kind.kind}, {"version", v.name}}};
  w.raw(json::serialize(schema));
}

void list_schema(Writer& w, const Kind& kind, const GroupVersion& gv, std::string_view item) {
  w.begin_object();
  w.field("description", fmt::format("A list of objects of the kind {}.", kind.kind));
  w.field("type", std::string_view("object"));
  w.key("required");
  w.begin_array();
  w.string("items");
  w.end_array();
  w.key("properties");
  w.begin_object();
  for (const auto* text : {"apiVersion", "kind"}) {
    w.key(text);
    w.begin_object();
    w.field("type", std::string_view("string"));
    w.end_object();
  }
  w.key("items");
  w.begin_object();
  w.field("description", std::string_view("The objects."));
  w.field("type", std::string_view("array"));
  w.key("items");
  w.begin_object();
  reference(w, item);
  w.end_object();
  w.end_object();
  w.key("metadata");
  w.begin_object();
  reference(w, fmt::format("{}ListMeta", meta_package));
  w.end_object();
  w.end_object();
  gvk_list(w, gv.group, gv.version, {kind.list_kind});
  w.end_object();
}

void parameter(Writer& w, std::string_view name, std::string_view in, std::string_view type, std::string_view doc) {
  w.begin_object();
  w.field("name", name);
  w.field("in", in);
  if (in == "path") w.field("required", true);
  w.field("description", doc);
  w.key("schema");
  w.begin_object();
  w.field("type", type);
  w.field("uniqueItems", true);
  w.end_object();
  w.end_object();
}

struct Operation {
  std::string_view method, action, verb;
};

// One operation of a path. `item`: the component of the body and the answer.
void operation(Writer& w, const Operation& op, const wire::Subresource& of, std::string_view item, bool crd) {
  const bool writes = op.method == "post" || op.method == "put" || op.method == "patch";
  w.key(op.method);
  w.begin_object();
  w.field("description", fmt::format("{} of the kind {}", op.verb, of.kind));
  w.key("parameters");
  w.begin_array();
  if (writes || op.method == "delete") parameter(w, "dryRun", "query", "string", "All: do everything but the write.");
  if (writes) {
    parameter(w, "fieldManager", "query", "string", "The name under which the fields that are set are owned.");
    parameter(w, "fieldValidation", "query", "string",
              "What becomes of unknown and duplicate fields: Ignore, Warn or Strict.");
  }
  if (op.method == "patch") parameter(w, "force", "query", "boolean", "With apply: take over fields that others own.");
  if (op.action == "list") {
    parameter(w, "labelSelector", "query", "string", "Only objects whose labels match.");
    parameter(w, "fieldSelector", "query", "string", "Only objects whose fields match.");
    parameter(w, "limit", "query", "integer", "At most so many objects; the answer says how to go on.");
    parameter(w, "continue", "query", "string", "Where the last answer said to go on.");
    parameter(w, "resourceVersion", "query", "string", "The state of the collection to read or to watch from.");
    parameter(w, "watch", "query", "boolean", "Stream changes instead of the list.");
    parameter(w, "allowWatchBookmarks", "query", "boolean", "Send bookmarks while watching.");
    parameter(w, "timeoutSeconds", "query", "integer", "End the answer after so many seconds.");
  }
  w.end_array();
  if (writes) {
    w.key("requestBody");
    w.begin_object();
    w.field("required", true);
    w.key("content");
    w.begin_object();
    auto content = [&](std::string_view type, std::string_view component) {
      w.key(type);
      w.begin_object();
      w.key("schema");
      w.begin_object();
      reference(w, component);
      w.end_object();
      w.end_object();
    };
    if (op.method == "patch") {
      const auto patch = fmt::format("{}Patch", meta_package);
      content("application/apply-patch+yaml", patch);
      content("application/json-patch+json", patch);
      content("application/merge-patch+json", patch);
      if (!crd) content("application/strategic-merge-patch+json", patch);
    } else {
      content("application/json", item);
      content("application/yaml", item);
    }
    w.end_object();
    w.end_object();
  }
  w.key("responses");
  w.begin_object();
  w.key("200");
  w.begin_object();
  w.field("description", std::string_view("OK"));
  w.key("content");
  w.begin_object();
  w.key("application/json");
  w.begin_object();
  w.key("schema");
  w.begin_object();
  reference(w, item);
  w.end_object();
  w.end_object();
  w.end_object();
  w.end_object();
  w.end_object();
  w.field("x-kubernetes-action", op.action);
  w.key("x-kubernetes-group-version-kind");
  gvk_object(w, of.group, of.version, of.kind);
  w.end_object();
}

bool has(const std::vector<std::string>& verbs, std::string_view verb) {
  return std::ranges::find(verbs, verb) != verbs.end();
}

void path_parameters(Writer& w, bool namespaced, bool named_object) {
  w.key("parameters");
  w.begin_array();
  if (named_object) parameter(w, "name", "path", "string", "Name of the object.");
  if (namespaced) parameter(w, "namespace", "path", "string", "Namespace of the object.");
  w.end_array();
}

void kind_paths(Writer& w, const GroupVersion& gv, const Kind& kind, const KindVersion& v) {
  const auto item = component_name(kind, v);
  const auto list = item + "List";
  const wire::Subresource self{{}, gv.group, gv.version, kind.kind, kind.verbs};
  const auto root = fmt::format("/{}/", gv.path());
  const auto base = root + (kind.namespaced ? "namespaces/{namespace}/" : "") + kind.plural;
  w.key(base);
  w.begin_object();
  if (has(kind.verbs, "list")) operation(w, {"get", "list", "list objects"}, self, list, kind.crd);
  if (has(kind.verbs, "create")) operation(w, {"post", "post", "create an object"}, self, item, kind.crd);
  if (has(kind.verbs, "deletecollection"))
    operation(w, {"delete", "deletecollection", "delete objects"}, self, fmt::format("{}Status", meta_package),
              kind.crd);
  path_parameters(w, kind.namespaced, false);
  w.end_object();
  if (kind.namespaced && has(kind.verbs, "list")) {
    w.key(root + kind.plural);
    w.begin_object();
    operation(w, {"get", "list", "list objects"}, self, list, kind.crd);
    w.end_object();
  }
  if (kind.virtual_kind) return;
  w.key(base + "/{name}");
  w.begin_object();
  if (has(kind.verbs, "get")) operation(w, {"get", "get", "read an object"}, self, item, kind.crd);
  if (has(kind.verbs, "update")) operation(w, {"put", "put", "replace an object"}, self, item, kind.crd);
  if (has(kind.verbs, "patch")) operation(w, {"patch", "patch", "change an object"}, self, item, kind.crd);
  if (has(kind.verbs, "delete"))
    operation(w, {"delete", "delete", "delete an object"}, self, fmt::format("{}Status", meta_package), kind.crd);
  path_parameters(w, kind.namespaced, true);
  w.end_object();
  for (const auto& s : wire::subresources(kind, v)) {
    if (s.name != "status" && s.name != "scale") continue;
    const auto body = s.name == "scale" ? std::string("io.k8s.api.autoscaling.v1.Scale") : item;
    w.key(fmt::format("{}/{{name}}/{}", base, s.name));
    w.begin_object();
    operation(w, {"get", "get", "read a part"}, s, body, kind.crd);
    operation(w, {"put", "put", "replace a part"}, s, body, kind.crd);
    operation(w, {"patch", "patch", "change a part"}, s, body, kind.crd);
    path_parameters(w, kind.namespaced, true);
    w.end_object();
  }
}

std::string render(const GroupVersion& gv) {
  std::string out;
  Writer w(out);
  w.begin_object();
  w.field("openapi", std::string_view("3.0.0"));
  w.key("info");
  w.begin_object();
  w.field("title", std::string_view("Kubernetes"));
  w.field("version", std::string_view("v1.32.4"));
  w.end_object();
  w.key("paths");
  w.begin_object();
  for (const auto& k : gv.kinds) kind_paths(w, gv, *k, *k->version(gv.version));
  w.end_object();

  Components c;
  std::map<const Type*, std::vector<std::string>> kinds_of;
  for (const auto& k : gv.kinds) {
    const auto& v = *k->version(gv.version);
    if (v.schema && k->crd_schemas.is_null()) {
      c.add(v.schema);
      kinds_of[v.schema].push_back(k->kind);
    }
    if (v.scale) c.add(builtin_type("io.k8s.api.autoscaling.v1.Scale"));
  }
  for (const auto* n : {"ObjectMeta", "ListMeta", "Status"}) c.add(builtin_type(fmt::format("{}{}", meta_package, n)));

  w.key("components");
  w.begin_object();
  w.key("schemas");
  w.begin_object();
  for (const auto* t : c.types) {
    w.key(t->name);
    type_schema(w, *t, gv, kinds_of[t]);
  }
  for (const auto& n : named) {
    if (!c.scalars.contains(n.type)) continue;
    w.key(n.name);
    w.raw(n.schema);
  }
  w.key(fmt::format("{}Patch", meta_package));
  w.raw(R"({"description":"A patch, in the form that its content type says.","type":"object"})");
  for (const auto& k : gv.kinds) {
    const auto& v = *k->version(gv.version);
    const auto name = component_name(*k, v);
    if (!v.schema || !k->crd_schemas.is_null()) {
      w.key(name);
      custom_schema(w, *k, v);
    }
    if (!has(k->verbs, "list")) continue;
    w.key(name + "List");
    list_schema(w, *k, gv, name);
  }
  w.end_object();
  w.end_object();
  w.end_object();
  return out;
}

void mix(std::uint64_t& h, std::string_view text) {
  for (const char c : text) h = (h ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  h = (h ^ 0xff) * 1099511628211ULL;
}

// Changes whenever the document does: clients keep a document for ever under its hash. Cheaper than rendering it.
std::string hash_of(const GroupVersion& gv) {
  std::uint64_t a = 14695981039346656037ULL;
  mix(a, "1");  // grows when this file writes another document for the same kinds
  mix(a, gv.path());
  std::set<const Type*> seen;
  auto add = [&](auto&& self, const Type* t) -> void {
    if (!t || !seen.insert(t).second) return;
    mix(a, t->name);
    mix(a, t->doc);
    for (const auto& f : t->fields) {
      mix(a, f.name);
      mix(a, f.doc);
      const char shape[] = {static_cast<char>('a' + static_cast<int>(f.type)),
                            static_cast<char>('a' + static_cast<int>(f.container)), f.required ? 'r' : '-'};
      mix(a, {shape, sizeof shape});
      for (const auto& e : f.enums) mix(a, e);
      self(self, f.ref);
    }
  };
  for (const auto& k : gv.kinds) {
    const auto& v = *k->version(gv.version);
    mix(a, k->kind);
    mix(a, k->plural);
    mix(a, v.status ? "status" : "");
    mix(a, v.scale ? "scale" : "");
    if (k->crd_schemas.is_null())
      add(add, v.schema);
    else
      mix(a, json::serialize(k->crd_schemas));
  }
  return fmt::format("{:016X}", a);
}

}  // namespace

std::string openapi_index(const Kinds& kinds) {
  return wire::cached(kinds, "openapi", [&] {
    std::string out;
    Writer w(out);
    w.begin_object();
    w.key("paths");
    w.begin_object();
    for (const auto& gv : wire::group_versions(kinds)) {
      w.key(gv.path());
      w.begin_object();
      w.field("serverRelativeURL", fmt::format("/openapi/v3/{}?hash={}", gv.path(), hash_of(gv)));
      w.end_object();
    }
    w.end_object();
    w.end_object();
    return out;
  });
}

std::optional<std::string> openapi_document(const Kinds& kinds, std::string_view path) {
  const auto all = wire::group_versions(kinds);
  const auto gv = std::ranges::find_if(all, [&](const auto& g) { return g.path() == path; });
  if (gv == all.end()) return std::nullopt;
  return wire::cached(kinds, fmt::format("openapi {}", path), [&] { return render(*gv); });
}

}  // namespace mr::kube
