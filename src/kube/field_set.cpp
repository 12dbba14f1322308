#include "kube/apply_fields.h"

#include <boost/json/array.hpp>

#include "json/parse.h"
#include "kube/errors.h"

namespace mr::kube {

bool FieldSet::empty() const { return !member && children.empty(); }

const FieldSet* FieldSet::find(std::string_view element) const {
  auto it = children.find(element);
  return it == children.end() ? nullptr : &it->second;
}

Object FieldSet::to_json() const {
  Object o;
  for (const auto& [name, child] : children) {
    auto& v = o[name].emplace_object();
    if (child.children.empty()) continue;
    v = child.to_json();
    if (child.member) {
      Object with{{".", Object{}}};
      for (auto& m : v) with[m.key()] = std::move(m.value());
      v = std::move(with);
    }
  }
  return o;
}

std::optional<FieldSet> FieldSet::from_json(const Object& o) {
  FieldSet s;
  for (const auto& m : o) {
    std::string_view key = m.key();
    const auto* below = m.value().if_object();
    if (below == nullptr) return std::nullopt;
    if (key == ".") {
      s.member = true;
      continue;
    }
    if (key.size() < 2 || key[1] != ':' || std::string_view("fkvi").find(key[0]) == std::string_view::npos)
      return std::nullopt;
    auto child = from_json(*below);
    if (!child) return std::nullopt;
    if (below->empty()) child->member = true;
    s.children.emplace(std::string(key), std::move(*child));
  }
  return s;
}

FieldSet unite(FieldSet a, const FieldSet& b) {
  a.member |= b.member;
  for (const auto& [name, child] : b.children) {
    auto it = a.children.find(name);
    if (it == a.children.end())
      a.children.emplace(name, child);
    else
      it->second = unite(std::move(it->second), child);
  }
  return a;
}

FieldSet intersect(const FieldSet& a, const FieldSet& b) {
  FieldSet out;
  out.member = a.member && b.member;
  for (const auto& [name, child] : a.children)
    if (const auto* other = b.find(name))
      if (auto both = intersect(child, *other); !both.empty()) out.children.emplace(name, std::move(both));
  return out;
}

FieldSet subtract(const FieldSet& a, const FieldSet& b, bool below) {
  if (below && b.member) return {};
  FieldSet out;
  out.member = a.member && !b.member;
  for (const auto& [name, child] : a.children) {
    const auto* other = b.find(name);
    auto left = other == nullptr ? child : subtract(child, *other, below);
    if (!left.empty()) out.children.emplace(name, std::move(left));
  }
  return out;
}

std::string shown_element(std::string_view e) {
  if (e.starts_with("f:")) return "." + std::string(e.substr(2));
  auto v = json::parse(e.substr(2));
  if (e.starts_with("k:") && v && v->is_object()) {
    std::string out = "[";
    for (const auto& m : v->get_object())
      out += fmt::format("{}{}={}", out.size() > 1 ? "," : "", std::string_view(m.key()), rendered(m.value()));
    return out + "]";
  }
  if (e.starts_with("v:") && v) return fmt::format("[={}]", rendered(*v));
  return fmt::format("[{}]", e.substr(2));
}

namespace {

void list_paths(const FieldSet& s, const std::string& path, std::vector<std::string>& out) {
  for (const auto& [name, child] : s.children)
    if (child.member) out.push_back(path + shown_element(name));
  for (const auto& [name, child] : s.children)
    if (!child.children.empty()) list_paths(child, path + shown_element(name), out);
}

}  // namespace

std::vector<std::string> paths_of(const FieldSet& s) {
  std::vector<std::string> out;
  list_paths(s, "", out);
  return out;
}

}  // namespace mr::kube
