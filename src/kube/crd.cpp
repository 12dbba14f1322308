// The Kind that a CustomResourceDefinition makes.
#include <boost/json/array.hpp>

#include "kube/admission_rules.h"
#include "text/text.h"

namespace mr::kube {

namespace {

constexpr int max_schema_depth = 60;

const Value* schema_of_version(const Object& version) {
  const auto* schema = at(version, "schema.openAPIV3Schema");
  return schema != nullptr && schema->is_object() ? schema : nullptr;
}

struct Arena {
  std::deque<Type> types;
};

class TypeMaker {
 public:
  explicit TypeMaker(Arena& arena) : arena_(arena) {}

  Type* object(const Object& s, const std::string& name, bool root, int depth) {
    auto& t = arena_.types.emplace_back();
    t.name = name;
    t.doc = text_at(s, "description");
    t.preserve_unknown = bool_at(s, "x-kubernetes-preserve-unknown-fields");
    if (root || bool_at(s, "x-kubernetes-embedded-resource")) {
      t.fields.push_back({.name = "apiVersion"});
      t.fields.push_back({.name = "kind"});
      Field meta;
      meta.name = "metadata";
      meta.type = FieldType::object;
      meta.ref = builtin_type("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
      if (meta.ref == nullptr) meta.type = FieldType::any;
      t.fields.push_back(std::move(meta));
    }
    std::set<std::string_view> needed;
    for (const auto& r : array_at(s, "required"))
      if (r.is_string()) needed.insert(std::string_view(r.get_string()));
    for (const auto& p : object_at(s, "properties")) {
      std::string_view key = p.key();
      if (t.fields.size() >= 3 && (key == "apiVersion" || key == "kind" || key == "metadata") &&
          t.fields[0].name == "apiVersion")
        continue;
      Field f;
      f.name = key;
      f.required = needed.contains(key);
      if (const auto* schema = p.value().if_object()) fill(f, *schema, name + "." + f.name, depth + 1);
      t.fields.push_back(std::move(f));
    }
    return &t;
  }

 private:
  void fill(Field& f, const Object& s, const std::string& name, int depth) {
    f.doc = text_at(s, "description");
    f.nullable = bool_at(s, "nullable");
    for (const auto& v : array_at(s, "enum"))
      if (v.is_string()) f.enums.emplace_back(std::string_view(v.get_string()));
    f.atomic_map = text_at(s, "x-kubernetes-map-type") == "atomic";
    if (text_at(s, "type") == "array") {
      f.container = Container::list;
      auto list = text_at(s, "x-kubernetes-list-type");
      f.list_kind = list == "map" ? ListKind::map : list == "set" ? ListKind::set : ListKind::atomic;
      for (const auto& k : array_at(s, "x-kubernetes-list-map-keys"))
        if (k.is_string()) f.list_keys.emplace_back(std::string_view(k.get_string()));
      element(f, child(s, "items"), name, depth);
    } else if (const auto* more = child(s, "additionalProperties"); more != nullptr && text_at(s, "type") == "object") {
      f.container = Container::map;
      element(f, more, name, depth);
    } else {
      element(f, &s, name, depth);
    }
  }

  // The type of a value, or of the elements of a list or map.
  void element(Field& f, const Object* s, const std::string& name, int depth) {
    f.type = FieldType::any;
    if (s == nullptr || depth > max_schema_depth) return;
    auto type = text_at(*s, "type"), format = text_at(*s, "format");
    if (bool_at(*s, "x-kubernetes-int-or-string")) {
      f.type = FieldType::int_or_string;
    } else if (type == "string") {
      f.type = FieldType::string;
    } else if (type == "boolean") {
      f.type = FieldType::boolean;
    } else if (type == "integer") {
      f.type = format == "int32" ? FieldType::int32 : FieldType::int64;
    } else if (type == "number") {
      f.type = FieldType::number;
    } else if (type == "object" && !s->contains("additionalProperties") &&
               (!object_at(*s, "properties").empty() || bool_at(*s, "x-kubernetes-embedded-resource"))) {
      f.type = FieldType::object;
      f.ref = object(*s, name, false, depth);
    }
  }

  Arena& arena_;
};

// v2 > v1 > v1beta2 > v1beta1 > v1alpha1 > anything else by name.
std::tuple<int, long, long, std::string> rank(std::string_view v) {
  std::tuple<int, long, long, std::string> lowest{3, 0, 0, std::string(v)};
  if (!v.starts_with('v')) return lowest;
  std::size_t i = 1;
  while (i < v.size() && v[i] >= '0' && v[i] <= '9') ++i;
  auto major = text::to_i64(v.substr(1, i - 1));
  if (!major) return lowest;
  auto rest = v.substr(i);
  if (rest.empty()) return {0, -*major, 0, ""};
  for (auto [word, order] : {std::pair{std::string_view("beta"), 1}, std::pair{std::string_view("alpha"), 2}})
    if (rest.starts_with(word))
      if (auto minor = text::to_i64(rest.substr(word.size()))) return {order, -*major, -*minor, ""};
  return lowest;
}

std::vector<std::string> texts_of(const Array& a) {
  std::vector<std::string> out;
  for (const auto& v : a)
    if (v.is_string()) out.emplace_back(std::string_view(v.get_string()));
  return out;
}

}  // namespace

std::expected<KindPtr, std::vector<FieldError>> kind_of_crd(const Object& crd) {
  FieldErrors e;
  validate_crd(e, crd, nullptr);
  if (!e.empty()) return std::unexpected(std::move(e));
  const auto& spec = object_at(crd, "spec");
  const auto& names = object_at(spec, "names");
  auto k = std::make_shared<Kind>();
  k->group = text_at(spec, "group");
  k->kind = text_at(names, "kind");
  k->plural = text_at(names, "plural");
  k->singular = text_at(names, "singular");
  if (k->singular.empty()) k->singular = text::lower(k->kind);
  k->list_kind = text_at(names, "listKind");
  if (k->list_kind.empty()) k->list_kind = k->kind + "List";
  k->short_names = texts_of(array_at(names, "shortNames"));
  k->categories = texts_of(array_at(names, "categories"));
  k->namespaced = text_at(spec, "scope") != "Cluster";
  k->crd = true;
  k->generation = true;
  k->verbs = {"delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"};
  auto arena = std::make_shared<Arena>();
  TypeMaker make(*arena);
  Object schemas;
  // The group backwards names the package: com.example.
  auto parts = text::split(k->group, '.');
  std::ranges::reverse(parts);
  auto package = fmt::format("{}", fmt::join(parts, "."));
  for (const auto& value : array_at(spec, "versions")) {
    if (!value.is_object()) continue;
    const auto& v = value.get_object();
    KindVersion version;
    version.name = text_at(v, "name");
    version.served = bool_at(v, "served");
    version.storage = bool_at(v, "storage");
    const auto* schema = schema_of_version(v);
    if (schema != nullptr) {
      schemas[version.name] = *schema;
      version.schema =
          make.object(schema->get_object(), fmt::format("{}.{}.{}", package, version.name, k->kind), true, 0);
    }
    version.status = at(v, "subresources.status") != nullptr;
    if (const auto* scale = at(v, "subresources.scale"); scale != nullptr && scale->is_object()) {
      version.scale = true;
      version.scale_spec = text_at(scale->get_object(), "specReplicasPath");
      version.scale_status = text_at(scale->get_object(), "statusReplicasPath");
      version.scale_selector = text_at(scale->get_object(), "labelSelectorPath");
    }
    for (const auto& c : array_at(v, "additionalPrinterColumns")) {
      if (!c.is_object()) continue;
      const auto& o = c.get_object();
      Column column;
      column.name = text_at(o, "name");
      column.type = text_at(o, "type");
      column.format = text_at(o, "format");
      column.description = text_at(o, "description");
      column.path = text_at(o, "jsonPath");
      column.priority = static_cast<int>(int_at(o, "priority"));
      version.columns.push_back(std::move(column));
    }
    if (version.columns.empty()) {
      Column age;
      age.name = "Age";
      age.type = "date";
      age.path = ".metadata.creationTimestamp";
      version.columns.push_back(std::move(age));
    }
    if (bool_at(v, "deprecated")) {
      version.deprecation = text_at(v, "deprecationWarning");
      if (version.deprecation.empty())
        version.deprecation = fmt::format("{}/{} {} is deprecated", k->group, version.name, k->kind);
    }
    for (const auto& f : array_at(v, "selectableFields")) {
      if (!f.is_object()) continue;
      auto path = text_at(f.get_object(), "jsonPath");
      if (path.starts_with('.')) path.remove_prefix(1);
      if (!path.empty()) k->selectable.emplace_back(path);
    }
    k->versions.push_back(std::move(version));
  }
  std::ranges::sort(k->versions, {}, [](const KindVersion& v) { return rank(v.name); });
  k->crd_schemas = std::move(schemas);
  k->keep = std::move(arena);
  return k;
}

}  // namespace mr::kube
