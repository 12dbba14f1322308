// RFC 6902 and RFC 7396. What fails in a JSON patch is answered without saying which operation it was, as the real
// server does.
#include <boost/json/array.hpp>

#include "kube/patch.h"
#include "text/text.h"

namespace mr::kube {

namespace {

constexpr std::size_t max_operations = 10'000;
constexpr std::size_t max_copied = 3u << 20;  // bytes that all `copy` operations of a patch may add
constexpr std::size_t max_depth = 100;        // of the document at any time

struct Extent {
  std::size_t bytes = 0, depth = 0;
};

// Recursion is bounded: nothing deeper than max_depth and the parser's own limit gets into a document.
Extent extent(const Value& v) {
  Extent all{2, 1};
  auto take = [&](const Value& child, std::size_t extra) {
    auto e = extent(child);
    all.bytes += e.bytes + extra;
    all.depth = std::max(all.depth, e.depth + 1);
  };
  if (const auto* o = v.if_object())
    for (const auto& m : *o) take(m.value(), m.key().size() + 4);
  else if (const auto* a = v.if_array())
    for (const auto& e : *a) take(e, 1);
  else if (const auto* s = v.if_string())
    all.bytes += s->size();
  else
    all.bytes += 8;
  return all;
}

struct Pointer {
  std::vector<std::string> tokens;
};

std::optional<Pointer> parse_pointer(std::string_view text) {
  Pointer p;
  if (text.empty()) return p;
  if (text[0] != '/') return std::nullopt;
  for (auto part : text::split(text.substr(1), '/')) {
    std::string token;
    for (std::size_t i = 0; i < part.size(); ++i) {
      if (part[i] == '~' && i + 1 < part.size() && (part[i + 1] == '0' || part[i + 1] == '1'))
        token += part[++i] == '0' ? '~' : '/';
      else
        token += part[i];
    }
    p.tokens.push_back(std::move(token));
  }
  if (p.tokens.size() > max_depth) return std::nullopt;
  return p;
}

// An index into a list of `size` elements; negative ones count from the end, as the real server's library has it.
std::optional<std::size_t> index_of(std::string_view token, std::size_t size) {
  auto i = text::to_i64(token);
  if (!i) return std::nullopt;
  auto at = *i < 0 ? *i + static_cast<std::int64_t>(size) : *i;
  if (at < 0 || at >= static_cast<std::int64_t>(size)) return std::nullopt;
  return static_cast<std::size_t>(at);
}

Value* child(Value& v, std::string_view token) {
  if (auto* o = v.if_object()) return o->if_contains(token);
  if (auto* a = v.if_array())
    if (auto i = index_of(token, a->size())) return &(*a)[*i];
  return nullptr;
}

// What the pointer's last token is looked up in.
Value* parent_of(Value& root, const Pointer& p) {
  Value* now = &root;
  for (std::size_t i = 0; now != nullptr && i + 1 < p.tokens.size(); ++i) now = child(*now, p.tokens[i]);
  return now;
}

Value* find(Value& root, const Pointer& p) {
  if (p.tokens.empty()) return &root;
  auto* parent = parent_of(root, p);
  return parent == nullptr ? nullptr : child(*parent, p.tokens.back());
}

bool add(Value& root, const Pointer& p, Value v) {
  if (p.tokens.empty()) {
    root = std::move(v);
    return true;
  }
  auto* parent = parent_of(root, p);
  if (parent == nullptr) return false;
  const auto& last = p.tokens.back();
  if (auto* o = parent->if_object()) {
    (*o)[last] = std::move(v);
    return true;
  }
  auto* a = parent->if_array();
  if (a == nullptr) return false;
  auto i = last == "-" ? std::optional(a->size()) : index_of(last, a->size() + 1);
  if (!i) return false;
  a->insert(a->begin() + static_cast<std::ptrdiff_t>(*i), std::move(v));
  return true;
}

bool remove(Value& root, const Pointer& p) {
  if (p.tokens.empty()) return false;
  auto* parent = parent_of(root, p);
  if (parent == nullptr) return false;
  if (auto* o = parent->if_object()) {
    auto it = o->find(p.tokens.back());
    if (it == o->end()) return false;
    o->stable_erase(it);
    return true;
  }
  if (auto* a = parent->if_array())
    if (auto i = index_of(p.tokens.back(), a->size())) {
      a->erase(a->begin() + static_cast<std::ptrdiff_t>(*i));
      return true;
    }
  return false;
}

bool operate(Value& root, const Object& op, std::size_t& copied) {
  auto path = parse_pointer(text_at(op, "path"));
  const auto* where = op.if_contains("path");
  if (!path || where == nullptr || !where->is_string()) return false;
  const auto name = text_at(op, "op");
  const auto* value = op.if_contains("value");
  auto fits = [&](const Value& v) { return extent(v).depth + path->tokens.size() <= max_depth; };

  if (name == "add") return value != nullptr && fits(*value) && add(root, *path, *value);
  if (name == "remove") return remove(root, *path);
  if (name == "replace") {
    auto* there = find(root, *path);
    if (value == nullptr || !fits(*value)) return false;
    if (there == nullptr) {
      // The real server's library sets a member that is not there; elements must be.
      auto* parent = path->tokens.empty() ? nullptr : parent_of(root, *path);
      return parent != nullptr && parent->is_object() && add(root, *path, *value);
    }
    *there = *value;
    return true;
  }
  if (name == "test") {
    const auto* there = find(root, *path);
    // An absent member equals null.
    if (there == nullptr) return value == nullptr || value->is_null();
    return value == nullptr ? there->is_null() : same(*there, *value);
  }
  if (name != "move" && name != "copy") return false;
  auto from = parse_pointer(text_at(op, "from"));
  if (!from || !op.contains("from")) return false;
  auto* there = find(root, *from);
  if (there == nullptr) return false;
  auto size = extent(*there);
  if (size.depth + path->tokens.size() > max_depth) return false;
  Value v = *there;
  if (name == "copy") {
    copied += size.bytes;
    return copied <= max_copied && add(root, *path, std::move(v));
  }
  // A value cannot be moved into itself: by then its place is gone, and the add fails.
  return remove(root, *from) && add(root, *path, std::move(v));
}

}  // namespace

std::expected<Value, ApiError> json_patch(const Value& document, const Value& operations) {
  const auto* list = operations.if_array();
  if (list == nullptr)
    return std::unexpected(bad_request(
        fmt::format("error decoding patch: json: cannot unmarshal {} into Go value of type []handlers.jsonPatchOp",
                    operations.is_object()   ? "object"
                    : operations.is_string() ? "string"
                    : operations.is_bool()   ? "bool"
                                             : "number")));
  for (const auto& op : *list)
    if (!op.is_object())
      return std::unexpected(
          bad_request("error decoding patch: json: cannot unmarshal value into Go value of type handlers.jsonPatchOp"));
  if (list->size() > max_operations)
    return std::unexpected(make_error(413, "RequestEntityTooLarge",
                                      fmt::format("Request entity is too large: The allowed maximum operations in a "
                                                  "JSON patch is {}, got {}",
                                                  max_operations, list->size())));
  Value now = document;
  std::size_t copied = 0;
  for (const auto& op : *list)
    if (!operate(now, op.get_object(), copied))
      return std::unexpected(
          make_error(422, "Invalid", "the server rejected our request due to an error in our request"));
  return now;
}

void merge_patch(Value& document, const Value& patch) {
  const auto* from = patch.if_object();
  if (from == nullptr) {
    document = patch;
    return;
  }
  if (!document.is_object()) document.emplace_object();
  auto& into = document.get_object();
  for (const auto& m : *from) {
    if (!m.value().is_null())
      merge_patch(into[m.key()], m.value());
    else if (auto it = into.find(m.key()); it != into.end())
      into.stable_erase(it);
  }
}

}  // namespace mr::kube
