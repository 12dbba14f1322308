#include "serving/formats/ubjson.h"

#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>

namespace mr::serving {

namespace {

constexpr int kMaxDocDepth = 64;

using DocKind = Doc::Kind;

// What both readers share: a position, bounds and counts.
class DocReader {
 public:
  DocReader(std::string_view bytes, std::size_t max_values, std::string_view format)
      : in_(bytes), left_(max_values), format_(format) {}

 protected:
  std::unexpected<Error> broken(std::string_view what) const {
    return fail(Code::invalid_argument, fmt::format("the {} is broken at byte {}: {}", format_, at_, what));
  }
  Result<> count_value(int depth) {
    if (depth > kMaxDocDepth) return broken("it is nested too deep");
    if (left_ == 0) return fail(Code::too_large, fmt::format("the {} holds more values than are read", format_));
    --left_;
    return {};
  }
  static Doc number(double v) {
    Doc d;
    d.kind = DocKind::number;
    d.number = v;
    return d;
  }
  static Doc flag(bool v) {
    Doc d;
    d.kind = DocKind::boolean;
    d.number = v ? 1 : 0;
    return d;
  }
  // Adds to a list, which is one of numbers for as long as it holds nothing else.
  Result<> append(Doc& list, Doc item) {
    bool plain = item.kind == DocKind::number || item.kind == DocKind::boolean;
    if (list.kind == DocKind::numbers) {
      if (plain) {
        list.numbers.push_back(item.number);
        return {};
      }
      if (list.numbers.size() > left_)
        return fail(Code::too_large, fmt::format("the {} holds more values than are read", format_));
      left_ -= list.numbers.size();
      list.kind = DocKind::list;
      for (double v : list.numbers) list.items.push_back(number(v));
      list.numbers = {};
    }
    list.items.push_back(std::move(item));
    return {};
  }

  std::string_view in_;
  std::size_t at_ = 0;
  std::size_t left_;
  std::string_view format_;
};

class UbjsonReader : DocReader {
 public:
  UbjsonReader(std::string_view bytes, std::size_t max_values) : DocReader(bytes, max_values, "UBJSON document") {}

  Result<Doc> document() {
    MR_TRY(auto type, marker());
    MR_TRY(auto d, value(type, 0));
    return d;
  }

 private:
  template <class T>
  static T big_endian(const char* p) {
    T v;
    std::memcpy(&v, p, sizeof v);
    if constexpr (std::endian::native == std::endian::little && sizeof(T) > 1) v = std::byteswap(v);
    return v;
  }

  // Bytes of a number of this type; 0 when it is none.
  static std::size_t width(char type) {
    switch (type) {
      case 'i':
      case 'U':
        return 1;
      case 'I':
        return 2;
      case 'l':
      case 'd':
        return 4;
      case 'L':
      case 'D':
        return 8;
      default:
        return 0;
    }
  }
  static double decode(char type, const char* p) {
    switch (type) {
      case 'i':
        return static_cast<double>(static_cast<std::int8_t>(*p));
      case 'U':
        return static_cast<double>(static_cast<std::uint8_t>(*p));
      case 'I':
        return static_cast<double>(big_endian<std::int16_t>(p));
      case 'l':
        return static_cast<double>(big_endian<std::int32_t>(p));
      case 'L':
        return static_cast<double>(big_endian<std::int64_t>(p));
      case 'd':
        return static_cast<double>(std::bit_cast<float>(big_endian<std::uint32_t>(p)));
      default:
        return std::bit_cast<double>(big_endian<std::uint64_t>(p));
    }
  }

  Result<char> marker() {
    while (at_ < in_.size() && in_[at_] == 'N') ++at_;  // no-op
    if (at_ == in_.size()) return broken("it ends early");
    return in_[at_++];
  }
  Result<double> scalar(char type) {
    auto n = width(type);
    if (n == 0) return broken("a number has an unknown type");
    if (in_.size() - at_ < n) return broken("it ends within a number");
    at_ += n;
    return decode(type, in_.data() + at_ - n);
  }
  Result<std::size_t> length() {
    MR_TRY(auto type, marker());
    if (type == 'd' || type == 'D') return broken("a length is not an integer");
    MR_TRY(auto n, scalar(type));
    if (n < 0 || n > static_cast<double>(in_.size())) return broken("a length is larger than the document");
    return static_cast<std::size_t>(n);
  }
  Result<std::string> string() {
    MR_TRY(auto n, length());
    if (n > in_.size() - at_) return broken("it ends within a text");
    at_ += n;
    return std::string(in_.substr(at_ - n, n));
  }

  struct Head {
    char type = 0;  // of all items, or 0
    bool counted = false;
    std::size_t count = 0;
  };
  Result<Head> head() {
    Head h;
    if (at_ < in_.size() && in_[at_] == '$') {
      ++at_;
      MR_TRY(h.type, marker());
      if (at_ >= in_.size() || in_[at_] != '#') return broken("a typed container has no count");
    }
    if (at_ < in_.size() && in_[at_] == '#') {
      ++at_;
      h.counted = true;
      MR_TRY(h.count, length());
    }
    return h;
  }

  Result<Doc> value(char type, int depth) {
    MR_CHECK(count_value(depth));
    Doc d;
    switch (type) {
      case 'Z':
        return d;
      case 'T':
      case 'F':
        return flag(type == 'T');
      case 'S':
      case 'H': {
        d.kind = DocKind::text;
        MR_TRY(d.text, string());
        return d;
      }
      case 'C':
        if (at_ == in_.size()) return broken("it ends within a text");
        d.kind = DocKind::text;
        d.text = in_.substr(at_++, 1);
        return d;
      case '[':
        return list(depth);
      case '{':
        return object(depth);
      default: {
        MR_TRY(auto v, scalar(type));
        return number(v);
      }
    }
  }

  Result<Doc> list(int depth) {
    Doc d;
    d.kind = DocKind::numbers;
    MR_TRY(auto h, head());
    if (h.type != 0) {
      auto n = width(h.type);
      if (n == 0) {
        // Items of no size of their own would let a few bytes ask for any amount of memory.
        if (h.type != '[' && h.type != '{' && h.type != 'S')
          return broken("a typed list is of a type that is not read");
      } else {
        if (h.count > (in_.size() - at_) / n) return broken("a list is longer than the document");
        d.numbers.resize(h.count);
        for (auto& v : d.numbers) {
          v = decode(h.type, in_.data() + at_);
          at_ += n;
        }
        return d;
      }
    }
    for (std::size_t i = 0; !h.counted || i < h.count; ++i) {
      auto type = h.type;
      if (type == 0) {
        MR_TRY(type, marker());
        if (!h.counted && type == ']') return d;
      }
      if (width(type) != 0) {
        MR_TRY(auto v, scalar(type));
        MR_CHECK(append(d, number(v)));
        if (d.kind == DocKind::list) MR_CHECK(count_value(depth));
        continue;
      }
      MR_TRY(auto item, value(type, depth + 1));
      MR_CHECK(append(d, std::move(item)));
    }
    return d;
  }

  Result<Doc> object(int depth) {
    Doc d;
    d.kind = DocKind::object;
    MR_TRY(auto h, head());
    for (std::size_t i = 0; !h.counted || i < h.count; ++i) {
      if (!h.counted) {
        while (at_ < in_.size() && in_[at_] == 'N') ++at_;
        if (at_ < in_.size() && in_[at_] == '}') {
          ++at_;
          return d;
        }
      }
      MR_TRY(auto key, string());
      auto type = h.type;
      if (type == 0) {
        MR_TRY(type, marker());
      }
      MR_TRY(auto item, value(type, depth + 1));
      d.keys.push_back(std::move(key));
      d.items.push_back(std::move(item));
    }
    return d;
  }
};

class JsonReader : DocReader {
 public:
  JsonReader(std::string_view bytes, std::size_t max_values) : DocReader(bytes, max_values, "JSON document") {}

  Result<Doc> document() {
    MR_TRY(auto d, value(0));
    space();
    if (at_ != in_.size()) return broken("something follows its end");
    return d;
  }

 private:
  void space() {
    while (at_ < in_.size() && (in_[at_] == ' ' || in_[at_] == '\n' || in_[at_] == '\r' || in_[at_] == '\t')) ++at_;
  }
  bool take(char c) {
    space();
    if (at_ == in_.size() || in_[at_] != c) return false;
    ++at_;
    return true;
  }
  bool word(std::string_view w) {
    if (!in_.substr(at_).starts_with(w)) return false;
    at_ += w.size();
    return true;
  }

  bool literal(double& v) {
    const auto* from = in_.data() + at_;
    const auto* end = in_.data() + in_.size();
    if (from != end && (*from == '-' || (*from >= '0' && *from <= '9'))) {
      auto [to, ec] = std::from_chars(from, end, v);
      if (ec == std::errc{}) {
        at_ += static_cast<std::size_t>(to - from);
        return true;
      }
      if (ec == std::errc::result_out_of_range) {
        // Too small or too large for a double: what strtod makes of it.
        while (to != end && std::string_view("0123456789.eE+-").find(*to) != std::string_view::npos) ++to;
        v = std::strtod(std::string(from, to).c_str(), nullptr);
        at_ += static_cast<std::size_t>(to - from);
        return true;
      }
    }
    if (word("NaN"))
      v = std::numeric_limits<double>::quiet_NaN();
    else if (word("Infinity"))
      v = std::numeric_limits<double>::infinity();
    else if (word("-Infinity"))
      v = -std::numeric_limits<double>::infinity();
    else
      return false;
    return true;
  }

  Result<std::uint32_t> hex4() {
    std::uint32_t v = 0;
    if (in_.size() - at_ < 4) return broken("an escape is cut short");
    auto [to, ec] = std::from_chars(in_.data() + at_, in_.data() + at_ + 4, v, 16);
    if (ec != std::errc{} || to != in_.data() + at_ + 4) return broken("an escape is not hexadecimal");
    at_ += 4;
    return v;
  }
  static void put_utf8(std::string& out, std::uint32_t c) {
    auto put = [&](std::uint32_t b) { out.push_back(static_cast<char>(b)); };
    if (c < 0x80) {
      put(c);
    } else if (c < 0x800) {
      put(0xc0 | (c >> 6));
      put(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
      put(0xe0 | (c >> 12));
      put(0x80 | ((c >> 6) & 0x3f));
      put(0x80 | (c & 0x3f));
    } else {
      put(0xf0 | (c >> 18));
      put(0x80 | ((c >> 12) & 0x3f));
      put(0x80 | ((c >> 6) & 0x3f));
      put(0x80 | (c & 0x3f));
    }
  }
  Result<std::string> string() {
    if (!take('"')) return broken("a text is wanted");
    std::string out;
    while (true) {
      auto end = in_.find_first_of("\"\\", at_);
      if (end == std::string_view::npos) return broken("it ends within a text");
      out.append(in_.substr(at_, end - at_));
      at_ = end + 1;
      if (in_[end] == '"') return out;
      if (at_ == in_.size()) return broken("it ends within a text");
      char c = in_[at_++];
      constexpr std::string_view from = "\"\\/bfnrt";
      constexpr std::string_view to = "\"\\/\b\f\n\r\t";
      if (auto i = from.find(c); i != std::string_view::npos) {
        out.push_back(to[i]);
        continue;
      }
      if (c != 'u') return broken("an escape is not known");
      MR_TRY(auto unit, hex4());
      if (unit >= 0xd800 && unit < 0xdc00 && word("\\u")) {
        MR_TRY(auto low, hex4());
        if (low < 0xdc00 || low > 0xdfff) return broken("half a surrogate pair");
        unit = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
      }
      if (unit >= 0xd800 && unit <= 0xdfff) unit = 0xfffd;
      put_utf8(out, unit);
    }
  }

  Result<Doc> value(int depth) {
    MR_CHECK(count_value(depth));
    space();
    if (at_ == in_.size()) return broken("it ends early");
    Doc d;
    if (in_[at_] == '"') {
      d.kind = DocKind::text;
      MR_TRY(d.text, string());
      return d;
    }
    if (in_[at_] == '{') return object(depth);
    if (in_[at_] == '[') return list(depth);
    if (word("true")) return flag(true);
    if (word("false")) return flag(false);
    if (word("null")) return d;
    double v = 0;
    if (!literal(v)) return broken("a value is not known");
    return number(v);
  }

  Result<Doc> list(int depth) {
    ++at_;
    Doc d;
    d.kind = DocKind::numbers;
    if (take(']')) return d;
    while (true) {
      space();
      double v = 0;
      if (literal(v)) {
        MR_CHECK(append(d, number(v)));
        if (d.kind == DocKind::list) MR_CHECK(count_value(depth));
      } else if (word("true") || word("false")) {
        MR_CHECK(append(d, flag(in_[at_ - 2] == 'u')));
        if (d.kind == DocKind::list) MR_CHECK(count_value(depth));
      } else {
        MR_TRY(auto item, value(depth + 1));
        MR_CHECK(append(d, std::move(item)));
      }
      if (take(']')) return d;
      if (!take(',')) return broken("a list has no comma");
    }
  }

  Result<Doc> object(int depth) {
    ++at_;
    Doc d;
    d.kind = DocKind::object;
    if (take('}')) return d;
    while (true) {
      MR_TRY(auto key, string());
      if (!take(':')) return broken("a colon is wanted");
      MR_TRY(auto item, value(depth + 1));
      d.keys.push_back(std::move(key));
      d.items.push_back(std::move(item));
      if (take('}')) return d;
      if (!take(',')) return broken("an object has no comma");
    }
  }
};

}  // namespace

const Doc* Doc::find(std::string_view key) const {
  for (std::size_t i = 0; i < keys.size(); ++i)
    if (keys[i] == key) return &items[i];
  return nullptr;
}

std::string_view Doc::text_or(std::string_view key, std::string_view fallback) const {
  const auto* m = find(key);
  return m != nullptr && m->kind == DocKind::text ? std::string_view(m->text) : fallback;
}

double Doc::number_or(std::string_view key, double fallback) const {
  const auto* m = find(key);
  if (m == nullptr) return fallback;
  if (m->kind == DocKind::number || m->kind == DocKind::boolean) return m->number;
  if (m->kind != DocKind::text) return fallback;
  double v = 0;
  auto [to, ec] = std::from_chars(m->text.data(), m->text.data() + m->text.size(), v);
  return ec == std::errc{} && to == m->text.data() + m->text.size() ? v : fallback;
}

Result<Doc> read_ubjson(std::string_view bytes, std::size_t max_values) {
  return UbjsonReader(bytes, max_values).document();
}

Result<Doc> read_json_model(std::string_view bytes, std::size_t max_values) {
  return JsonReader(bytes, max_values).document();
}

Result<Doc> read_document(std::string_view bytes) {
  // Both begin with a brace. In UBJSON a length's type or a container's mark follows, in JSON a key, a space or the
  // end.
  auto second = bytes.size() > 1 ? bytes[1] : '\0';
  if (bytes.starts_with('{') && (std::string_view("iUIlL#$N").find(second) != std::string_view::npos))
    return read_ubjson(bytes);
  return read_json_model(bytes);
}

}  // namespace mr::serving
