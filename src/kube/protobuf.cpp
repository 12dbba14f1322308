// Protobuf bodies, as kubectl's imperative commands and Helm send them. The messages' fields are those of the
// descriptions; what is read becomes the JSON document that the same client would have sent.
#include "kube/kinds_parse.h"
#include "kube/wire.h"
#include "text/text.h"

namespace mr::kube {

namespace {

constexpr int deepest = 64;
constexpr std::string_view magic{"k8s\0", 4};

ApiError broken(std::string_view what) {
  return bad_request(fmt::format("the protobuf body cannot be read: {}", what));
}

enum class Wire : std::uint8_t { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

// One field of a message: its number and its value, as a number or as bytes.
struct Item {
  std::uint32_t number = 0;
  Wire wire = Wire::varint;
  std::uint64_t value = 0;
  std::string_view bytes;
};

// Reads the fields of a message one by one. Ends at the first fault, and says so.
class Reader {
 public:
  explicit Reader(std::string_view data) : data_(data) {}
  [[nodiscard]] bool failed() const { return failed_; }

  std::optional<Item> next() {
    if (data_.empty() || failed_) return std::nullopt;
    Item item;
    const auto tag = varint();
    item.number = static_cast<std::uint32_t>(tag >> 3);
    item.wire = static_cast<Wire>(tag & 7);
    if (failed_ || item.number == 0 || (tag >> 3) > 0xffff) return fault();
    switch (item.wire) {
      case Wire::varint:
        item.value = varint();
        break;
      case Wire::fixed64:
        item.value = fixed(8);
        break;
      case Wire::fixed32:
        item.value = fixed(4);
        break;
      case Wire::bytes: {
        const auto size = varint();
        if (failed_ || size > data_.size()) return fault();
        item.bytes = data_.substr(0, size);
        data_.remove_prefix(size);
        break;
      }
      default:
        return fault();
    }
    return failed_ ? std::nullopt : std::optional(item);
  }

 private:
  std::nullopt_t fault() {
    failed_ = true;
    return std::nullopt;
  }
  std::uint64_t varint() {
    std::uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      if (data_.empty()) break;
      const auto byte = static_cast<unsigned char>(data_[0]);
      data_.remove_prefix(1);
      v |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return v;
    }
    failed_ = true;
    return 0;
  }
  std::uint64_t fixed(std::size_t size) {
    if (data_.size() < size) {
      failed_ = true;
      return 0;
    }
    std::uint64_t v = 0;
    for (std::size_t i = 0; i < size; ++i)
      v |= static_cast<std::uint64_t>(static_cast<unsigned char>(data_[i])) << (8 * i);
    data_.remove_prefix(size);
    return v;
  }

  std::string_view data_;
  bool failed_ = false;
};

std::string time_text(std::int64_t seconds, std::int64_t nanos, bool micro) {
  using namespace std::chrono;
  const sys_seconds at{std::chrono::seconds(seconds)};
  const auto days = floor<std::chrono::days>(at);
  const year_month_day date(days);
  const hh_mm_ss clock(at - days);
  auto out = fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", static_cast<int>(date.year()),
                         static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()), clock.hours().count(),
                         clock.minutes().count(), clock.seconds().count());
  if (micro) out += fmt::format(".{:06}", nanos / 1000);
  return out + "Z";
}

// A length of time as Go writes one: 1h0m0s, 1.5s, 300ms.
std::string duration_text(std::int64_t nanos) {
  if (nanos == 0) return "0s";
  const bool negative = nanos < 0;
  auto n = negative ? 0 - static_cast<std::uint64_t>(nanos) : static_cast<std::uint64_t>(nanos);
  std::string out = negative ? "-" : "";
  auto fraction = [](std::uint64_t value, std::uint64_t unit) {
    auto text = fmt::format("{}", value / unit);
    if (value % unit == 0) return text;
    const auto width = unit == 1000000000 ? 9 : unit == 1000000 ? 6 : 3;
    auto rest = fmt::format("{:0{}}", value % unit, width);
    rest.erase(rest.find_last_not_of('0') + 1);
    return text + "." + rest;
  };
  if (n < 1000) return out + fmt::format("{}ns", n);
  if (n < 1000000) return out + fraction(n, 1000) + "µs";
  if (n < 1000000000) return out + fraction(n, 1000000) + "ms";
  const auto minutes = n / 60000000000ULL;
  if (minutes >= 60) out += fmt::format("{}h", minutes / 60);
  if (minutes > 0) out += fmt::format("{}m", minutes % 60);
  return out + fraction(n % 60000000000ULL, 1000000000) + "s";
}

using Decoded = std::expected<Value, ApiError>;

std::expected<Object, ApiError> message(std::string_view data, const Type& type, int depth);

// The numbers and texts of a small message of fixed fields.
struct Parts {
  std::uint64_t n[4] = {};
  std::string_view text[4];
};
std::expected<Parts, ApiError> parts(std::string_view data) {
  Parts p;
  Reader r(data);
  while (const auto item = r.next()) {
    if (item->number > 3) continue;
    p.n[item->number] = item->value;
    p.text[item->number] = item->bytes;
  }
  if (r.failed()) return std::unexpected(broken("a value is cut off"));
  return p;
}

Decoded texts(std::string_view data) {
  Array out;
  Reader r(data);
  while (const auto item = r.next())
    if (item->number == 1) out.emplace_back(item->bytes);
  if (r.failed()) return std::unexpected(broken("a list of texts is cut off"));
  return Value(std::move(out));
}

Decoded raw_json(std::string_view data) {
  auto p = parts(data);
  if (!p) return std::unexpected(std::move(p).error());
  if (p->text[1].empty()) return Value(nullptr);
  std::vector<std::string> duplicates;
  auto v = decode_text(p->text[1], false, duplicates);
  if (!v) return std::unexpected(std::move(v).error());
  return Value(std::move(*v));
}

// Whether the value of `f` has the wire type of `item`.
bool fits(const Field& f, const Item& item) {
  switch (f.type) {
    case FieldType::boolean:
    case FieldType::int32:
    case FieldType::int64:
      return item.wire == Wire::varint;
    case FieldType::number:
      return item.wire == Wire::fixed64 || item.wire == Wire::fixed32;
    default:
      return item.wire == Wire::bytes;
  }
}

Decoded value(const Field& f, const Item& item, int depth) {
  if (!fits(f, item)) return std::unexpected(broken(fmt::format("field {} has another type", f.name)));
  switch (f.type) {
    case FieldType::string:
      if (!text::utf8_valid(item.bytes)) return std::unexpected(broken(fmt::format("field {} is not UTF-8", f.name)));
      return Value(item.bytes);
    case FieldType::boolean:
      return Value(item.value != 0);
    case FieldType::int32:
      return Value(static_cast<std::int64_t>(static_cast<std::int32_t>(item.value)));
    case FieldType::int64:
      return Value(static_cast<std::int64_t>(item.value));
    case FieldType::number:
      if (item.wire == Wire::fixed32)
        return Value(static_cast<double>(std::bit_cast<float>(static_cast<std::uint32_t>(item.value))));
      return Value(std::bit_cast<double>(item.value));
    case FieldType::bytes:
      return Value(text::base64_encode(item.bytes));
    case FieldType::object: {
      auto made = message(item.bytes, *f.ref, depth + 1);
      if (!made) return std::unexpected(std::move(made).error());
      return Value(std::move(*made));
    }
    case FieldType::any:
      // A map of lists of texts (a review's `extra`), else JSON inside.
      return f.container == Container::map ? texts(item.bytes) : raw_json(item.bytes);
    default:
      break;
  }
  auto p = parts(item.bytes);
  if (!p) return std::unexpected(std::move(p).error());
  const auto n = [&](int i) { return static_cast<std::int64_t>(p->n[i]); };
  switch (f.type) {
    case FieldType::time:
    case FieldType::micro_time: {
      constexpr std::int64_t earliest = -62135596800, latest = 253402300799;  // the years 1 to 9999
      if (item.bytes.empty()) return Value(nullptr);
      if (n(1) < earliest || n(1) > latest || n(2) < 0 || n(2) > 999999999)
        return std::unexpected(broken(fmt::format("field {} is no time", f.name)));
      return Value(time_text(n(1), n(2), f.type == FieldType::micro_time));
    }
    case FieldType::duration:
      return Value(duration_text(n(1)));
    case FieldType::quantity:
      return Value(p->text[1]);
    default:  // int_or_string
      return p->n[1] == 1 ? Value(p->text[3]) : Value(static_cast<std::int64_t>(static_cast<std::int32_t>(p->n[2])));
  }
}

// A zero that the sender only wrote because its type has no way to leave it out.
bool is_zero(const Field& f, const Value& v) {
  if (v.is_null()) return true;
  if (f.optional) return false;
  if (v.is_string()) return v.get_string().empty() || (f.type == FieldType::duration && v.get_string() == "0s");
  if (v.is_bool()) return !v.get_bool();
  if (v.is_int64()) return v.get_int64() == 0;
  if (v.is_double()) return v.get_double() == 0;
  return v.is_object() && v.get_object().empty() && f.type == FieldType::object;
}

std::optional<ApiError> add_entry(const Field& f, const Item& item, Object& out, int depth) {
  std::string_view key;
  Value v;
  bool given = false;
  Reader r(item.bytes);
  while (const auto part = r.next()) {
    if (part->number == 1) {
      key = part->bytes;
    } else if (part->number == 2) {
      auto made = value(f, *part, depth);
      if (!made) return std::move(made).error();
      v = std::move(*made);
      given = true;
    }
  }
  if (r.failed() || !text::utf8_valid(key)) return broken(fmt::format("an entry of {} is cut off", f.name));
  if (!given && (f.type == FieldType::string || f.type == FieldType::bytes)) v = "";
  auto& map = out[f.name];
  if (!map.is_object()) map = Object{};
  map.get_object()[key] = std::move(v);
  return std::nullopt;
}

std::optional<ApiError> add_field(const Field& f, const Item& item, Object& out, int depth) {
  if (f.container == Container::map) return add_entry(f, item, out, depth);
  if (f.container == Container::list) {
    auto& list = out[f.name];
    if (!list.is_array()) list = Array{};
    // Numbers may come packed.
    if (!fits(f, item) && item.wire == Wire::bytes && f.type != FieldType::number) {
      std::string_view rest = item.bytes;
      while (!rest.empty()) {
        std::uint64_t n = 0;
        std::size_t used = 0;
        for (unsigned shift = 0; shift < 64 && used < rest.size(); shift += 7) {
          const auto byte = static_cast<unsigned char>(rest[used++]);
          n |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
          if (byte < 0x80) break;
        }
        rest.remove_prefix(used);
        auto v = value(f, Item{item.number, Wire::varint, n, {}}, depth);
        if (!v) return std::move(v).error();
        list.get_array().push_back(std::move(*v));
      }
      return std::nullopt;
    }
    auto v = value(f, item, depth);
    if (!v) return std::move(v).error();
    list.get_array().push_back(std::move(*v));
    return std::nullopt;
  }
  auto v = value(f, item, depth);
  if (!v) return std::move(v).error();
  if (!is_zero(f, *v)) out[f.name] = std::move(*v);
  return std::nullopt;
}

// Fields that stand in a message of their own there, but not in the JSON form (a Volume's source).
std::optional<ApiError> inner_message(const Type& type, const Item& outer, Object& out, int depth) {
  if (std::ranges::find(type.fields, outer.number, &Field::proto_in) == type.fields.end()) return std::nullopt;
  Reader r(outer.bytes);
  while (const auto item = r.next()) {
    const auto f = std::ranges::find_if(
        type.fields, [&](const Field& x) { return x.proto_in == outer.number && x.proto == item->number; });
    if (f == type.fields.end()) continue;
    if (auto fault = add_field(*f, *item, out, depth)) return fault;
  }
  if (r.failed()) return broken(fmt::format("a part of {} is cut off", type.name));
  return std::nullopt;
}

std::expected<Object, ApiError> message(std::string_view data, const Type& type, int depth) {
  if (depth > deepest) return std::unexpected(broken("it is nested too deeply"));
  Object out;
  Reader r(data);
  while (const auto item = r.next()) {
    const auto* f = type.by_number(static_cast<std::uint16_t>(item->number));
    std::optional<ApiError> fault;
    if (f)
      fault = add_field(*f, *item, out, depth);
    else if (item->wire == Wire::bytes)
      fault = inner_message(type, *item, out, depth);
    if (fault) return std::unexpected(std::move(*fault));
  }
  if (r.failed()) return std::unexpected(broken(fmt::format("{} is cut off", type.name)));
  return out;
}

// The type of what has this apiVersion and kind.
const Type* type_of(std::string_view api_version, std::string_view kind) {
  if (kind == "DeleteOptions") return builtin_type("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions");
  struct Extra {
    std::string_view api_version, kind, type;
  };
  constexpr Extra extras[] = {
      {"authentication.k8s.io/v1", "TokenRequest", "io.k8s.api.authentication.v1.TokenRequest"},
      {"autoscaling/v1", "Scale", "io.k8s.api.autoscaling.v1.Scale"},
      {"policy/v1", "Eviction", "io.k8s.api.policy.v1.Eviction"},
  };
  for (const auto& e : extras)
    if (e.api_version == api_version && e.kind == kind) return builtin_type(e.type);
  for (const auto& k : builtin_descriptions().kinds) {
    if (k->kind != kind || k->crd) continue;
    for (const auto& v : k->versions)
      if (k->api_version(v.name) == api_version) return v.schema;
  }
  return nullptr;
}

}  // namespace

std::expected<Object, ApiError> decode_protobuf(std::string_view body) {
  if (!body.starts_with(magic)) return std::unexpected(broken("it does not begin as one"));
  std::string_view api_version, kind, raw;
  Reader unknown(body.substr(magic.size()));
  while (const auto item = unknown.next()) {
    if (item->number == 1) {
      auto p = parts(item->bytes);
      if (!p) return std::unexpected(std::move(p).error());
      api_version = p->text[1];
      kind = p->text[2];
    } else if (item->number == 2) {
      raw = item->bytes;
    }
  }
  if (unknown.failed()) return std::unexpected(broken("its envelope is cut off"));
  if (!text::utf8_valid(api_version) || !text::utf8_valid(kind))
    return std::unexpected(broken("its kind is not UTF-8"));
  const auto* type = type_of(api_version, kind);
  if (!type)
    return std::unexpected(
        bad_request(fmt::format("no kind \"{}\" is registered for version \"{}\"", kind, api_version)));
  auto made = message(raw, *type, 0);
  if (!made) return made;
  Object out;
  out["kind"] = kind;
  out["apiVersion"] = api_version;
  for (auto& [k, v] : *made) out[k] = std::move(v);
  return out;
}

}  // namespace mr::kube
