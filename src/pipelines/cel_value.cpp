#include "pipelines/cel_value.h"

#include <re2/re2.h>

#include <cmath>

#include "json/parse.h"
#include "pipelines/value.h"
#include "text/text.h"

namespace mr::pipelines::cel {

namespace {

constexpr double kTwoTo63 = 9223372036854775808.0;
constexpr double kTwoTo64 = 18446744073709551616.0;
constexpr std::int64_t kExact = std::int64_t{1} << 53;  // up to here a double holds every integer

std::partial_ordering order(std::int64_t i, double d) {
  if (std::isnan(d)) return std::partial_ordering::unordered;
  if (d >= kTwoTo63) return std::partial_ordering::less;
  if (d < -kTwoTo63) return std::partial_ordering::greater;
  const double whole = std::trunc(d);
  if (const auto c = i <=> static_cast<std::int64_t>(whole); c != 0) return c;
  return whole <=> d;
}
std::partial_ordering order(std::uint64_t u, double d) {
  if (std::isnan(d)) return std::partial_ordering::unordered;
  if (d >= kTwoTo64) return std::partial_ordering::less;
  if (d < 0) return std::partial_ordering::greater;
  const double whole = std::trunc(d);
  if (const auto c = u <=> static_cast<std::uint64_t>(whole); c != 0) return c;
  return whole <=> d;
}
std::partial_ordering order(std::int64_t i, std::uint64_t u) {
  if (std::cmp_less(i, u)) return std::partial_ordering::less;
  return std::cmp_equal(i, u) ? std::partial_ordering::equivalent : std::partial_ordering::greater;
}

std::unexpected<Error> cannot_convert(const Val& v, std::string_view to) {
  if (v.kind != Val::Kind::string) return refused(fmt::format("no such overload: {}({})", to, kind_name(v)));
  return refused(fmt::format("type conversion error from '{}' to '{}'", kind_name(v), to));
}

Result<Val> to_int(const Val& v) {
  if (v.kind == Val::Kind::integer) return v;
  if (v.kind == Val::Kind::uinteger) {
    if (std::cmp_greater(v.uinteger, INT64_MAX)) return refused("integer overflow");
    return of(static_cast<std::int64_t>(v.uinteger));
  }
  if (v.kind == Val::Kind::number) {
    if (!(v.number > -kTwoTo63 && v.number < kTwoTo63)) return refused("integer overflow");
    return of(static_cast<std::int64_t>(v.number));
  }
  if (v.kind == Val::Kind::string) {
    auto s = v.text;
    if (s.size() > 1 && s[0] == '+' && s[1] != '-') s.remove_prefix(1);
    if (auto i = text::to_i64(s)) return of(*i);
  }
  return cannot_convert(v, "int");
}
Result<Val> to_uint(const Val& v) {
  if (v.kind == Val::Kind::uinteger) return v;
  if (v.kind == Val::Kind::integer) {
    if (v.integer < 0) return refused("unsigned integer overflow");
    return of(static_cast<std::uint64_t>(v.integer));
  }
  if (v.kind == Val::Kind::number) {
    if (!(v.number >= 0 && v.number < kTwoTo64)) return refused("unsigned integer overflow");
    return of(static_cast<std::uint64_t>(v.number));
  }
  if (v.kind == Val::Kind::string)
    if (auto u = text::to_u64(v.text)) return of(*u);
  return cannot_convert(v, "uint");
}
Result<Val> to_double(const Val& v) {
  if (v.kind == Val::Kind::number) return v;
  if (v.kind == Val::Kind::integer) return of(static_cast<double>(v.integer));
  if (v.kind == Val::Kind::uinteger) return of(static_cast<double>(v.uinteger));
  if (v.kind == Val::Kind::string && text::trim(v.text) == v.text) {
    auto d = from_text(v.text, ParameterType::number, {});
    if (d) return of(d->is_double() ? d->get_double() : static_cast<double>(d->get_int64()));
  }
  return cannot_convert(v, "double");
}

template <class Member, class T>
Val made(Val::Kind kind, Member Val::* member, T value) {
  Val v;
  v.kind = kind;
  v.*member = value;
  return v;
}

}  // namespace

Val of(bool b) { return made(Val::Kind::boolean, &Val::boolean, b); }
Val of(std::int64_t i) { return made(Val::Kind::integer, &Val::integer, i); }
Val of(std::uint64_t u) { return made(Val::Kind::uinteger, &Val::uinteger, u); }
Val of(double d) { return made(Val::Kind::number, &Val::number, d); }
Val of(std::string_view s) { return made(Val::Kind::string, &Val::text, s); }
Val of(const Value& doc, bool typed) {
  Val v;
  switch (doc.kind()) {
    case boost::json::kind::null:
      return v;
    case boost::json::kind::bool_:
      return of(doc.get_bool());
    case boost::json::kind::int64: {
      const auto i = doc.get_int64();
      return typed || i > kExact || i < -kExact ? of(i) : of(static_cast<double>(i));
    }
    case boost::json::kind::uint64:
      return of(doc.get_uint64());
    case boost::json::kind::double_:
      return of(doc.get_double());
    case boost::json::kind::string:
      return of(std::string_view(doc.get_string()));
    case boost::json::kind::array:
      v.kind = Val::Kind::list;
      break;
    case boost::json::kind::object:
      v.kind = Val::Kind::map;
      break;
  }
  v.typed = typed;
  v.doc = &doc;
  return v;
}

std::string_view kind_name(const Val& v) {
  static constexpr std::array<std::string_view, 8> kNames = {"null_type", "bool",   "int",  "uint",
                                                             "double",    "string", "list", "map"};
  return kNames[static_cast<std::size_t>(v.kind)];
}

std::unexpected<Error> refused(std::string why) { return fail(Code::invalid_argument, std::move(why)); }
std::unexpected<Error> no_overload() { return refused("no such overload"); }

// Of numbers, by value, whatever their types.
std::partial_ordering order(const Val& a, const Val& b) {
  using K = Val::Kind;
  if (a.kind == b.kind) {
    if (a.kind == K::integer) return a.integer <=> b.integer;
    if (a.kind == K::uinteger) return a.uinteger <=> b.uinteger;
    return a.number <=> b.number;
  }
  if (a.kind == K::integer) return b.kind == K::number ? order(a.integer, b.number) : order(a.integer, b.uinteger);
  if (a.kind == K::uinteger && b.kind == K::number) return order(a.uinteger, b.number);
  return 0 <=> order(b, a);  // never two of a kind: turns once
}

Value doubles(const Value& v) {
  if (v.is_int64() && v.get_int64() <= kExact && v.get_int64() >= -kExact) return static_cast<double>(v.get_int64());
  if (v.is_array()) {
    Array out;
    for (const auto& e : v.get_array()) out.push_back(doubles(e));
    return out;
  }
  if (v.is_object()) {
    Object out;
    for (const auto& [k, e] : v.get_object()) out.emplace(k, doubles(e));
    return out;
  }
  return v;
}

std::size_t weight(const Value& v) {
  std::size_t n = sizeof(Value);
  if (v.is_string()) return n + v.get_string().size();
  if (v.is_array())
    for (const auto& e : v.get_array()) n += weight(e);
  if (v.is_object())
    for (const auto& [k, e] : v.get_object()) n += k.size() + weight(e);
  return n;
}

std::string written(const Val& v) {
  switch (v.kind) {
    case Val::Kind::boolean:
      return v.boolean ? "true" : "false";
    case Val::Kind::integer:
      return std::to_string(v.integer);
    case Val::Kind::uinteger:
      return std::to_string(v.uinteger);
    case Val::Kind::number:
      return to_text(Value(v.number));
    default:
      return std::string(v.text);
  }
}

Result<> Keeper::pay(std::size_t bytes) {
  if (bytes > budget_) return refused("the expression is too much work: its values are too large");
  budget_ -= bytes;
  return {};
}

Result<Val> call(Function f, const Val& v, const Val& argument, Keeper& keeper) {
  const bool texts = v.kind == Val::Kind::string && argument.kind == Val::Kind::string;
  switch (f) {
    case Function::size:
      if (v.kind == Val::Kind::string) {
        MR_CHECK(keeper.pay(v.text.size()));
        return of(static_cast<std::int64_t>(text::utf8_length(v.text)));
      }
      if (v.kind == Val::Kind::list) return of(static_cast<std::int64_t>(v.doc->get_array().size()));
      if (v.kind == Val::Kind::map) return of(static_cast<std::int64_t>(v.doc->get_object().size()));
      return no_overload();
    case Function::to_int:
      return to_int(v);
    case Function::to_uint:
      return to_uint(v);
    case Function::to_double:
      return to_double(v);
    case Function::to_string:
      if (v.kind == Val::Kind::string) return v;
      if (v.kind == Val::Kind::null || v.kind == Val::Kind::list || v.kind == Val::Kind::map)
        return cannot_convert(v, "string");
      MR_CHECK(keeper.pay(512));
      return keeper.keep(written(v));  // numbers as parameters are written: without an exponent
    case Function::to_bool: {
      if (v.kind == Val::Kind::boolean) return v;
      auto b =
          v.kind == Val::Kind::string ? from_text(v.text, ParameterType::boolean, {}) : Result<Value>(no_overload());
      if (!b || text::trim(v.text) != v.text) return cannot_convert(v, "bool");
      return of(b->get_bool());
    }
    case Function::dyn:
      return v;
    case Function::starts_with:
      return texts ? Result<Val>(of(v.text.starts_with(argument.text))) : no_overload();
    case Function::ends_with:
      return texts ? Result<Val>(of(v.text.ends_with(argument.text))) : no_overload();
    case Function::contains:
      if (!texts) return no_overload();
      MR_CHECK(keeper.pay(v.text.size()));
      return of(v.text.contains(argument.text));
    case Function::matches: {
      if (!texts) return no_overload();
      MR_CHECK(keeper.pay(4 * (v.text.size() + argument.text.size()) + (std::size_t{64} << 10)));
      if (argument.text.size() > 4096) return refused("a pattern of matches() is longer than 4096 bytes");
      re2::RE2::Options options;
      options.set_log_errors(false);
      options.set_max_mem(1 << 20);
      re2::RE2 pattern(re2::StringPiece(argument.text.data(), argument.text.size()), options);
      if (!pattern.ok()) return refused(fmt::format("error parsing regexp: {}", pattern.error()));
      return of(re2::RE2::PartialMatch(re2::StringPiece(v.text.data(), v.text.size()), pattern));
    }
    case Function::parse_json: {
      if (v.kind != Val::Kind::string) return no_overload();
      MR_CHECK(keeper.pay(4 * v.text.size()));
      auto parsed = json::parse(v.text);
      if (!parsed) return refused("failed to unmarshal JSON: " + parsed.error().message);
      return keeper.keep(std::move(*parsed), false);
    }
  }
  return no_overload();
}

}  // namespace mr::pipelines::cel
