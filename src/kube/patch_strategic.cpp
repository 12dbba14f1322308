// Strategic merge: a merge patch whose lists are merged by the key that the schema names, with directives in the patch.
#include <boost/json/array.hpp>

#include "kube/patch.h"

namespace mr::kube {

namespace {

constexpr std::string_view patch_directive = "$patch";
constexpr std::string_view retain_directive = "$retainKeys";
constexpr std::string_view order_prefix = "$setElementOrder/";
constexpr std::string_view delete_prefix = "$deleteFromPrimitiveList/";

using Outcome = std::expected<void, ApiError>;

std::unexpected<ApiError> bad_type() {
  return std::unexpected(make_error(422, "Invalid", "the server rejected our request due to an error in our request"));
}
std::unexpected<ApiError> bad_format(std::string_view of) {
  return std::unexpected(bad_request(fmt::format("invalid patch format of {}", of)));
}
std::unexpected<ApiError> plain(std::string text) { return std::unexpected(make_error(500, "", std::move(text))); }

// A value of a wrong type: the answer shows the whole patch, which the caller has.
constexpr std::string_view misfit_reason = "misfit";
std::unexpected<ApiError> misfit(std::string text) {
  return std::unexpected(make_error(422, std::string(misfit_reason), std::move(text)));
}

// A value as Go's %v prints it: map[a:1 b:[x y]].
std::string go_value(const Value& v) {
  if (const auto* o = v.if_object()) {
    std::map<std::string_view, const Value*> sorted;
    for (const auto& m : *o) sorted.emplace(std::string_view(m.key()), &m.value());
    std::string out = "map[";
    for (const auto& [k, e] : sorted) {
      if (out.size() > 4) out += ' ';
      out += fmt::format("{}:{}", k, go_value(*e));
    }
    return out + "]";
  }
  if (const auto* a = v.if_array()) {
    std::string out = "[";
    for (const auto& e : *a) (out += out.size() > 1 ? " " : "") += go_value(e);
    return out + "]";
  }
  if (const auto* s = v.if_string()) return std::string(std::string_view(*s));
  return v.is_null() ? "<nil>" : rendered(v);
}

// How one member of an object merges.
struct Rule {
  const Type* type = nullptr;  // of the member, of its elements, or of its map's values
  bool merged_list = false;
  std::string_view key;  // of a merged list of objects; empty: primitives
  bool map = false;      // a map whose values are of `type`
  const Field* field = nullptr;
};

// The rules of the members of an object: of a type, or of a map with values of one type.
struct Scope {
  const Type* type = nullptr;
  bool map = false;
};

Rule rule_of(const Scope& scope, std::string_view member) {
  if (scope.type == nullptr) return {};
  if (scope.map) return {.type = scope.type};
  const auto* f = scope.type->find(member);
  if (f == nullptr) return {};
  return {.type = f->ref,
          .merged_list = f->container == Container::list && f->merge,
          .key = f->merge_key,
          .map = f->container == Container::map,
          .field = f};
}

void drop(Object& o, std::string_view key) {
  if (auto it = o.find(key); it != o.end()) o.stable_erase(it);
}

// A part that is new loses its directives and nulls. False: it says itself that it is to go.
bool settle(Value& v) {
  if (auto* o = v.if_object()) {
    if (o->contains(patch_directive)) return false;
    std::vector<std::string> gone;
    for (auto& m : *o)
      if (m.value().is_null() || m.key() == retain_directive || m.key().starts_with(order_prefix) ||
          m.key().starts_with(delete_prefix) || !settle(m.value()))
        gone.emplace_back(m.key());
    for (const auto& k : gone) drop(*o, k);
  } else if (auto* a = v.if_array()) {
    Array kept;
    for (auto& e : *a)
      if (settle(e)) kept.push_back(std::move(e));
    *a = std::move(kept);
  }
  return true;
}

// Whether two elements are the same one of a merged list.
bool same_element(const Value& a, const Value& b, std::string_view key) {
  if (key.empty()) return same(a, b);
  const auto* x = a.is_object() ? a.get_object().if_contains(key) : nullptr;
  const auto* y = b.is_object() ? b.get_object().if_contains(key) : nullptr;
  return x != nullptr && y != nullptr && same(*x, *y);
}

// What names an element within its list, as a text to look it up by.
std::string identity(const Value& e, std::string_view key) {
  const auto* v = key.empty() ? &e : e.is_object() ? e.get_object().if_contains(key) : nullptr;
  if (v == nullptr) return {};
  if (v->is_number()) return "n" + rendered(Value(v->to_number<double>()));
  return rendered(*v);
}

using Places = std::unordered_map<std::string, std::size_t>;
Places places(const Array& list, std::string_view key) {
  Places out;
  for (std::size_t i = 0; i < list.size(); ++i) out.try_emplace(identity(list[i], key), i);
  return out;
}

// Puts `items` in the order of a wanted list and of the list that was there: elements named by `wanted` in its order,
// the others where they stood relative to those.
Array in_order(Array items, const Array& wanted, const Array& before, std::string_view key) {
  auto want = places(wanted, key);
  auto was = places(before, key);
  struct Item {
    Value v;
    std::size_t wanted, was, at;
  };
  constexpr auto none = std::size_t(-1);
  auto place = [](const Places& p, const std::string& id) {
    auto it = p.find(id);
    return it == p.end() ? none : it->second;
  };
  std::vector<Item> named, others;
  for (auto& v : items) {
    auto id = identity(v, key);
    auto w = place(want, id);
    (w == none ? others : named).push_back({std::move(v), w, place(was, id), named.size() + others.size()});
  }
  std::ranges::sort(named, {}, [](const Item& i) { return std::pair(i.wanted, i.at); });
  std::ranges::sort(others, {}, [](const Item& i) { return std::pair(i.was, i.at); });
  Array out;
  std::size_t i = 0, j = 0;
  while (i < others.size() || j < named.size()) {
    bool take_other;
    if (i >= others.size())
      take_other = false;
    else if (j >= named.size())
      take_other = true;
    else
      take_other = others[i].was != none && named[j].was != none && others[i].was < named[j].was;
    out.push_back(std::move(take_other ? others[i++].v : named[j++].v));
  }
  return out;
}

Outcome merge_object(Object& into, Object patch, Scope scope);

Outcome merge_objects_list(Array& into, const Array& patch, const Rule& rule) {
  Array wanted;
  bool replace = false;
  auto at = places(into, rule.key);
  for (const auto& p : patch) {
    const auto* o = p.if_object();
    if (o == nullptr) return bad_type();
    const auto* directive = o->if_contains(patch_directive);
    if (directive == nullptr) {
      wanted.push_back(p);
      continue;
    }
    if (*directive == "replace") {
      replace = true;
    } else if (*directive == "delete") {
      if (!o->contains(rule.key))
        return plain(fmt::format("map: {} does not contain declared merge key: {}", go_value(p), rule.key));
      Array left;
      for (auto& e : into)
        if (!same_element(e, p, rule.key)) left.push_back(std::move(e));
      into = std::move(left);
      at = places(into, rule.key);
    } else {
      return plain(fmt::format("unknown patch type: {} in map: {}", go_value(*directive), go_value(p)));
    }
  }
  if (replace) {
    into = wanted;
    for (auto& e : into) settle(e);
    return {};
  }
  for (auto& p : wanted) {
    if (!p.get_object().contains(rule.key))
      return plain(fmt::format("map: {} does not contain declared merge key: {}", go_value(p), rule.key));
    auto there = at.find(identity(p, rule.key));
    if (there != at.end() && into[there->second].is_object()) {
      auto& e = into[there->second].get_object();
      MR_CHECK(merge_object(e, p.get_object(), {.type = rule.type}));
    } else {
      Value fresh = p;
      if (!settle(fresh)) continue;
      at.emplace(identity(fresh, rule.key), into.size());
      into.push_back(std::move(fresh));
    }
  }
  return {};
}

void merge_primitives(Array& into, const Array& patch) {
  Array out;
  std::set<std::string> seen;
  for (const auto* list : {static_cast<const Array*>(&into), &patch})
    for (const auto& e : *list)
      if (seen.insert(rendered(e)).second) out.push_back(e);
  into = std::move(out);
}

bool holds_objects(const Array& a, const Array& b) {
  return (!a.empty() && a[0].is_object()) || (!b.empty() && b[0].is_object());
}
bool holds_lists(const Array& a) {
  return std::ranges::any_of(a, [](const Value& v) { return v.is_array(); });
}

Outcome merge_list(Array& into, const Array& patch, const Rule& rule, const Type* owner) {
  if (into.empty() && patch.empty()) return {};
  if (holds_lists(into) || holds_lists(patch)) return bad_type();
  auto before = into;
  Array wanted;
  if (holds_objects(into, patch)) {
    if (rule.key.empty())
      return plain(fmt::format("cannot merge lists without merge key for {}", owner == nullptr ? "" : owner->name));
    MR_CHECK(merge_objects_list(into, patch, rule));
    for (const auto& p : patch)
      if (p.is_object() && !p.get_object().contains(patch_directive)) wanted.push_back(p);
  } else {
    merge_primitives(into, patch);
    wanted = patch;
  }
  into = in_order(std::move(into), wanted, before, rule.key);
  return {};
}

// The elements of a patch's list must stand in the order that its $setElementOrder says.
bool follows(const Array& patch, const Array& order, std::string_view key) {
  std::size_t at = 0;
  for (const auto& p : patch) {
    if (p.is_object() && p.get_object().contains(patch_directive)) continue;
    while (at < order.size() && !same_element(order[at], p, key)) ++at;
    if (at == order.size()) return false;
    ++at;
  }
  return true;
}

// Merges the lists whose order the patch gives, and takes them out of it.
Outcome merge_ordered_lists(Object& into, Object& patch, const Scope& scope) {
  std::vector<std::string> directives;
  for (const auto& m : patch)
    if (m.key().starts_with(order_prefix)) directives.emplace_back(m.key());
  for (const auto& directive : directives) {
    auto name = std::string(directive.substr(order_prefix.size()));
    auto order_value = patch[directive];
    drop(patch, directive);
    const auto* order = order_value.if_array();
    if (order == nullptr) return bad_format("setElementOrder list");
    auto rule = rule_of(scope, name);
    const Value patched = patch.contains(name) ? patch.at(name) : Value();
    const bool in_patch = patch.contains(name) && patched.is_array();
    if (patch.contains(name) && !in_patch) continue;  // null: the list goes; another type replaces it
    drop(patch, name);
    auto* there = into.if_contains(name);
    if (there != nullptr && !there->is_array()) there = nullptr;
    if (there == nullptr && !in_patch) continue;
    if (in_patch && !follows(patched.get_array(), *order, rule.key))
      return plain(fmt::format("The order in patch list:\n{}\n doesn't match {} list:\n{}\n", go_value(patched),
                               "$setElementOrder", go_value(order_value)));
    Array before;
    if (there != nullptr) before = there->get_array();
    Value now = there == nullptr ? patched : *there;
    if (there == nullptr)
      settle(now);
    else if (in_patch) {
      if (rule.merged_list)
        MR_CHECK(merge_list(now.get_array(), patched.get_array(), rule, scope.type));
      else
        now = patched;
    }
    into[name] = in_order(std::move(now.get_array()), *order, before, rule.key);
  }
  return {};
}

Outcome delete_from_primitives(Object& into, std::string_view name, const Value& gone) {
  const auto* list = gone.if_array();
  if (list == nullptr) return bad_format("primitive list");
  auto* there = into.if_contains(name);
  if (there == nullptr || !there->is_array()) return {};
  Array left;
  for (auto& e : there->get_array())
    if (std::ranges::none_of(*list, [&](const Value& g) { return same(g, e); })) left.push_back(std::move(e));
  there->get_array() = std::move(left);
  return {};
}

Outcome retain(Object& into, Object& patch) {
  auto* keys_value = patch.if_contains(retain_directive);
  if (keys_value == nullptr) return {};
  auto keys = *keys_value;
  drop(patch, retain_directive);
  if (!keys.is_array()) return bad_format("retainKeys");
  auto kept = [&](std::string_view k) {
    return std::ranges::any_of(keys.get_array(), [&](const Value& v) { return v.is_string() && v.get_string() == k; });
  };
  for (const auto& m : patch)
    if (!m.key().starts_with('$') && !m.value().is_null() && !kept(m.key())) return bad_format("retainKeys");
  std::vector<std::string> gone;
  for (const auto& m : into)
    if (!kept(m.key())) gone.emplace_back(m.key());
  for (const auto& k : gone) drop(into, k);
  return {};
}

Outcome merge_object(Object& into, Object patch, Scope scope) {
  if (const auto* directive = patch.if_contains(patch_directive)) {
    if (*directive == "replace") {
      drop(patch, patch_directive);
      into = std::move(patch);
      return {};
    }
    if (*directive == "delete") {
      into.clear();
      return {};
    }
    return plain(fmt::format("unknown patch type: {} in map: {}", go_value(*directive), go_value(Value(patch))));
  }
  MR_CHECK(retain(into, patch));
  MR_CHECK(merge_ordered_lists(into, patch, scope));
  for (auto& m : patch) {
    std::string_view name = m.key();
    auto& value = m.value();
    if (name.starts_with(delete_prefix)) {
      MR_CHECK(delete_from_primitives(into, name.substr(delete_prefix.size()), value));
      continue;
    }
    if (value.is_null()) {
      drop(into, name);
      continue;
    }
    auto* there = into.if_contains(name);
    const auto rule = rule_of(scope, name);
    if (rule.field != nullptr && !value.is_object() && !value.is_array()) {
      auto given = value.is_string() ? "string" : value.is_bool() ? "bool" : value.is_double() ? "float64" : "int64";
      if (rule.field->container == Container::list) return misfit(fmt::format("cannot restore slice from {}", given));
      if (rule.field->container == Container::map) return misfit(fmt::format("cannot restore map from {}", given));
      if (rule.field->type == FieldType::object) return misfit(fmt::format("cannot restore struct from: {}", given));
    }
    if (there != nullptr && there->is_object() && value.is_object()) {
      MR_CHECK(merge_object(there->get_object(), std::move(value.get_object()), {.type = rule.type, .map = rule.map}));
    } else if (there != nullptr && there->is_array() && value.is_array() && rule.merged_list) {
      MR_CHECK(merge_list(there->get_array(), value.get_array(), rule, scope.type));
    } else if (settle(value)) {
      into[name] = std::move(value);
    } else {
      drop(into, name);
    }
  }
  return {};
}

}  // namespace

std::expected<Object, ApiError> strategic_merge(const Object& document, const Object& patch, const Type& type) {
  Object now = document;
  if (auto ok = merge_object(now, patch, {.type = &type}); !ok) {
    auto e = std::move(ok).error();
    if (e.reason == misfit_reason)
      e = invalid_object("", "", "", {invalid("patch", Value(go_value(Value(patch))), e.message)});
    return std::unexpected(std::move(e));
  }
  return now;
}

}  // namespace mr::kube
