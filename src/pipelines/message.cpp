#include "pipelines/message.h"

#include "json/parse.h"
#include "json/writer.h"
#include "text/names.h"
#include "text/text.h"
#include "time/clock.h"

namespace mr::pipelines {

namespace {

std::unexpected<Error> unreadable(std::string message) {
  return fail(Code::invalid_argument, std::move(message), "gateway");
}

class MessageReader {
 public:
  explicit MessageReader(std::string_view source) : source_(source) {}

  Result<Object> message(const Value& v, const MessageType& type, int depth) {
    if (!v.is_object() || depth > 16)
      return unreadable(fmt::format("proto: syntax error (line 1:1): unexpected token {}", shown(v)));
    Object out;
    std::string_view chosen;
    for (const auto& [key, member] : v.get_object()) {
      const auto* f = find(type, key);
      if (f == nullptr) return unreadable(fmt::format("proto: {}: unknown field {}", place(key), quoted(key)));
      if (member.is_null() && f->kind != FieldKind::value) continue;
      if (out.contains(f->name))
        return unreadable(fmt::format("proto: {}: duplicate field {}", place(key), quoted(key)));
      if (!f->one_of.empty()) {
        if (!chosen.empty())
          return unreadable(fmt::format("proto: {}: error parsing {}, oneof {}.{} is already set", place(key),
                                        quoted(key), type.name, f->one_of));
        chosen = f->name;
      }
      MR_TRY(auto read, field(*f, key, member, depth));
      out[f->name] = std::move(read);
    }
    return out;
  }

 private:
  static const MessageField* find(const MessageType& type, std::string_view key) {
    for (const auto& f : type.fields)
      if (f.name == key || text::camel_case(f.name) == key) return &f;
    return nullptr;
  }
  static std::string quoted(std::string_view s) {
    std::string out;
    json::append_string(out, s);
    return out;
  }
  static std::string shown(const Value& v) {
    auto s = json::serialize(v);
    if (s.size() > 60) s = std::string(text::utf8_prefix(s, 60)) + "...";
    return s;
  }
  // "(line 1:17)": where the key stands first.
  std::string place(std::string_view key) const {
    const auto at = std::min(source_.find(quoted(key)), source_.size());
    const auto before = source_.substr(0, at);
    const auto line = std::ranges::count(before, '\n') + 1;
    const auto start = before.rfind('\n');
    return fmt::format("(line {}:{})", line, at - (start == std::string_view::npos ? 0 : start + 1) + 1);
  }
  std::unexpected<Error> wrong(const MessageField& f, std::string_view kind, std::string_view key,
                               const Value& v) const {
    return unreadable(fmt::format("proto: {}: invalid value for {} field {}: {}", place(key), kind,
                                  text::camel_case(f.name), shown(v)));
  }

  Result<Value> field(const MessageField& f, std::string_view key, const Value& v, int depth) {
    if (f.many == Many::one) return one(f, key, v, depth);
    if (f.many == Many::list) {
      if (!v.is_array()) return unreadable(fmt::format("proto: {}: unexpected token {}", place(key), shown(v)));
      Array out;
      for (const auto& x : v.get_array()) {
        MR_TRY(auto element, one(f, key, x, depth));
        out.push_back(std::move(element));
      }
      return Value(std::move(out));
    }
    if (!v.is_object()) return unreadable(fmt::format("proto: {}: unexpected token {}", place(key), shown(v)));
    Object out;
    for (const auto& [name, x] : v.get_object()) {
      MR_TRY(auto element, one(f, key, x, depth));
      out[name] = std::move(element);
    }
    return Value(std::move(out));
  }

  Result<Value> one(const MessageField& f, std::string_view key, const Value& v, int depth) {
    switch (f.kind) {
      case FieldKind::string:
        if (v.is_string()) return v;
        return wrong(f, "string", key, v);
      case FieldKind::boolean:
        if (v.is_bool()) return v;
        return wrong(f, "bool", key, v);
      case FieldKind::integer:
      case FieldKind::number: {
        const bool wide = f.kind == FieldKind::number;
        auto n = whole(v);
        if (!n || (!wide && (*n > INT32_MAX || *n < INT32_MIN))) return wrong(f, wide ? "int64" : "int32", key, v);
        return Value(*n);
      }
      case FieldKind::real: {
        if (v.is_double()) return v;
        if (auto n = whole(v)) return Value(static_cast<double>(*n));
        return wrong(f, "double", key, v);
      }
      case FieldKind::time: {
        auto ns = v.is_string() ? time::parse_rfc3339_ns(v.get_string()) : std::nullopt;
        if (!ns)
          return unreadable(fmt::format("proto: {}: invalid google.protobuf.Timestamp value {}", place(key), shown(v)));
        return Value(*ns >= 0 ? *ns / 1'000'000 : (*ns - 999'999) / 1'000'000);
      }
      case FieldKind::enumeration: {
        if (v.is_string()) {
          for (const auto& word : f.words)
            if (!word.empty() && word == std::string_view(v.get_string())) return v;
        } else if (auto n = whole(v); n && *n >= 0 && *n < static_cast<std::int64_t>(f.words.size())) {
          if (auto word = f.words[static_cast<std::size_t>(*n)]; !word.empty()) return Value(word);
        }
        return wrong(f, "enum", key, v);
      }
      case FieldKind::document:
        if (v.is_object()) return v;
        return unreadable(fmt::format("proto: {}: unexpected token {}", place(key), shown(v)));
      case FieldKind::value:
        return v;
      case FieldKind::message: {
        MR_TRY(auto o, message(v, *f.type, depth + 1));
        return Value(std::move(o));
      }
    }
    return wrong(f, "unknown", key, v);
  }

  // An integer as a number or a text of one.
  static std::optional<std::int64_t> whole(const Value& v) {
    if (v.is_int64()) return v.get_int64();
    if (v.is_double() && v.get_double() == std::floor(v.get_double()) && std::abs(v.get_double()) < 9.2e18)
      return static_cast<std::int64_t>(v.get_double());
    if (v.is_string()) return text::to_i64(v.get_string());
    return std::nullopt;
  }

  std::string_view source_;
};

std::string seconds_text(std::int64_t ms) {
  const auto s = time::iso8601_ms(ms >= 0 ? ms / 1000 * 1000 : (ms - 999) / 1000 * 1000);
  return s.substr(0, s.find('.')) + "Z";
}

void write_fields(json::Writer& w, const MessageType& type, const Object& m);

void write_one(json::Writer& w, const MessageField& f, const Value& v) {
  switch (f.kind) {
    case FieldKind::number:
      w.string(std::to_string(v.is_int64() ? v.get_int64() : 0));
      return;
    case FieldKind::time:
      w.string(seconds_text(v.is_int64() ? v.get_int64() : 0));
      return;
    case FieldKind::message:
      w.begin_object();
      if (v.is_object()) write_fields(w, *f.type, v.get_object());
      w.end_object();
      return;
    default:
      w.raw(json::serialize(v));
  }
}

bool is_unset(const MessageField& f, const Value& v) {
  if (f.many != Many::one) return (v.is_array() && v.get_array().empty()) || (v.is_object() && v.get_object().empty());
  switch (f.kind) {
    case FieldKind::string:
      return v.is_string() && v.get_string().empty();
    case FieldKind::boolean:
      return v.is_bool() && !v.get_bool();
    case FieldKind::integer:
    case FieldKind::number:
      return v.is_int64() && v.get_int64() == 0;
    case FieldKind::enumeration:
      return v.is_string() &&
             (f.words.empty() || v.get_string().empty() || std::string_view(v.get_string()) == f.words[0]);
    default:
      return v.is_null();
  }
}

void write_fields(json::Writer& w, const MessageType& type, const Object& m) {
  for (const auto& f : type.fields) {
    const auto* v = m.if_contains(f.name);
    if (v == nullptr || v->is_null() || is_unset(f, *v)) continue;
    w.key(f.name);
    if (f.many == Many::list) {
      w.begin_array();
      if (v->is_array())
        for (const auto& x : v->get_array()) write_one(w, f, x);
      w.end_array();
    } else if (f.many == Many::map) {
      w.begin_object();
      if (v->is_object())
        for (const auto& [key, x] : v->get_object()) {
          w.key(key);
          write_one(w, f, x);
        }
      w.end_object();
    } else {
      write_one(w, f, *v);
    }
  }
}

}  // namespace

Result<Object> read_message(std::string_view body, const MessageType& type) {
  if (text::trim(body).empty()) return Object();
  auto v = json::parse(body, 512);
  if (!v) return unreadable(fmt::format("proto: syntax error (line 1:1): {}", v.error().message));
  return MessageReader(body).message(*v, type, 0);
}

std::string write_message(const MessageType& type, const Object& m) {
  std::string out;
  json::Writer w(out);
  w.begin_object();
  write_fields(w, type, m);
  w.end_object();
  return out;
}

std::string text_of(const Object& m, std::string_view name) {
  const auto* v = m.if_contains(name);
  return v != nullptr && v->is_string() ? std::string(v->get_string()) : std::string();
}
std::int64_t integer_of(const Object& m, std::string_view name, std::int64_t fallback) {
  const auto* v = m.if_contains(name);
  return v != nullptr && v->is_int64() ? v->get_int64() : fallback;
}
bool flag_of(const Object& m, std::string_view name) {
  const auto* v = m.if_contains(name);
  return v != nullptr && v->is_bool() && v->get_bool();
}
const Object* message_of(const Object& m, std::string_view name) {
  const auto* v = m.if_contains(name);
  return v != nullptr && v->is_object() ? &v->get_object() : nullptr;
}
Object document_of(const Object& m, std::string_view name) {
  const auto* o = message_of(m, name);
  return o != nullptr ? *o : Object();
}
std::map<std::string, std::string> texts_of(const Object& m, std::string_view name) {
  std::map<std::string, std::string> out;
  if (const auto* o = message_of(m, name))
    for (const auto& [k, v] : *o)
      if (v.is_string()) out.emplace(k, v.get_string());
  return out;
}
Value texts_value(const std::map<std::string, std::string>& texts) {
  Object out;
  for (const auto& [k, v] : texts) out[k] = v;
  return out;
}

}  // namespace mr::pipelines
