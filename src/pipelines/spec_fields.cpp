#include "pipelines/spec_fields.h"

#include <algorithm>
#include <cmath>

#include "json/parse.h"
#include "text/names.h"
#include "text/text.h"

namespace mr::pipelines {

namespace {

const Object kNoObject;
const Array kNoArray;

std::optional<double> decimal(std::string_view t) {
  double d = 0;
  auto r = std::from_chars(t.data(), t.data() + t.size(), d);
  if (t.empty() || r.ec != std::errc() || r.ptr != t.data() + t.size() || !std::isfinite(d)) return std::nullopt;
  return d;
}

}  // namespace

Fields::Fields(const Value& v, std::string path) : path_(std::move(path)) {
  if (v.is_object())
    o_ = &v.get_object();
  else
    errors_.push_back(Error{
        Code::invalid_argument, fmt::format("{}: must be an object", path_.empty() ? "the spec" : path_), {}, {}});
}

std::string Fields::at(std::string_view field) const {
  return path_.empty() ? std::string(field) : fmt::format("{}.{}", path_, field);
}

void Fields::wrong(std::string_view camel, std::string_view wanted) {
  errors_.push_back(Error{Code::invalid_argument, fmt::format("{}: must be {}", at(camel), wanted), {}, {}});
}

const Value* Fields::take(std::string_view camel) {
  if (o_ == nullptr) return nullptr;
  for (const auto& name : {std::string(camel), text::snake_case(camel)}) {
    auto it = o_->find(name);
    if (it == o_->end()) continue;
    seen_.push_back(it->key());
    if (!it->value().is_null()) return &it->value();
  }
  return nullptr;
}

std::string Fields::text(std::string_view camel) {
  const auto* v = take(camel);
  if (v == nullptr) return {};
  if (!v->is_string()) {
    wrong(camel, "a string");
    return {};
  }
  return std::string(v->get_string());
}

bool Fields::flag(std::string_view camel, bool otherwise) {
  const auto* v = take(camel);
  if (v == nullptr) return otherwise;
  if (v->is_bool()) return v->get_bool();
  wrong(camel, "true or false");
  return otherwise;
}

double Fields::number(std::string_view camel, double otherwise) {
  const auto* v = take(camel);
  if (v == nullptr) return otherwise;
  if (v->is_number()) return v->to_number<double>();
  if (v->is_string())
    if (auto d = decimal(v->get_string())) return *d;
  wrong(camel, "a number");
  return otherwise;
}

std::int64_t Fields::integer(std::string_view camel, std::int64_t otherwise) {
  auto d = number(camel, static_cast<double>(otherwise));
  if (d != std::floor(d) || std::abs(d) > 9e15) {
    wrong(camel, "an integer");
    return otherwise;
  }
  return static_cast<std::int64_t>(d);
}

std::vector<std::string> Fields::texts(std::string_view camel) {
  std::vector<std::string> out;
  for (const auto& v : list(camel)) {
    if (!v.is_string()) {
      wrong(camel, "a list of strings");
      return {};
    }
    out.emplace_back(v.get_string());
  }
  return out;
}

double Fields::duration_s(std::string_view camel, double otherwise) {
  const auto* v = take(camel);
  if (v == nullptr) return otherwise;
  if (v->is_string()) {
    std::string_view t = v->get_string();
    if (t.ends_with('s'))
      if (auto d = decimal(t.substr(0, t.size() - 1)); d && *d >= 0) return *d;
  }
  wrong(camel, "a duration like \"3.5s\"");
  return otherwise;
}

const Object& Fields::map(std::string_view camel) {
  const auto* v = take(camel);
  if (v == nullptr) return kNoObject;
  if (v->is_object()) return v->get_object();
  wrong(camel, "an object");
  return kNoObject;
}

const Array& Fields::list(std::string_view camel) {
  const auto* v = take(camel);
  if (v == nullptr) return kNoArray;
  if (v->is_array()) return v->get_array();
  wrong(camel, "a list");
  return kNoArray;
}

void Fields::ignore(std::initializer_list<std::string_view> camel) {
  for (auto c : camel) (void)take(c);
}

std::vector<Error> Fields::errors() const {
  auto out = errors_;
  if (o_ == nullptr) return out;
  for (const auto& member : *o_)
    if (std::ranges::find(seen_, std::string_view(member.key())) == seen_.end())
      out.push_back(Error{Code::invalid_argument, fmt::format("{}: unknown field", at(member.key())), {}, {}});
  return out;
}

Result<void> Fields::done() const {
  if (!errors_.empty()) return std::unexpected(errors_.front());
  if (auto all = errors(); !all.empty()) return std::unexpected(std::move(all.front()));
  return {};
}

Result<void> Problems::pass(Result<void> r) {
  if (r || !all_) return r;
  note(std::move(r.error()));
  return {};
}

Result<void> Problems::done(const Fields& f) {
  if (!all_) return f.done();
  for (auto& e : f.errors()) note(std::move(e));
  return {};
}

void Problems::note(Error e) {
  constexpr std::size_t kMost = 500;
  const bool known = std::ranges::any_of(noted_, [&](const Error& other) { return other.message == e.message; });
  if (!known && noted_.size() < kMost) noted_.push_back(std::move(e));
}

}  // namespace mr::pipelines
