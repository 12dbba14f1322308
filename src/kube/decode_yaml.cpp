// YAML as JSON, by the rules of the YAML 1.1 reader that the real server uses. yaml-cpp gives events; the tree is ours,
// so that anchors cannot blow it up.
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <sstream>

#include "kube/decode.h"
#include "text/text.h"

namespace mr::kube::decode {

namespace {

constexpr std::size_t most_nodes = 500'000;

struct TooLarge {};

Value from_plain(const std::string& s) {
  static constexpr std::string_view nulls[] = {"", "~", "null", "Null", "NULL"};
  static constexpr std::string_view yes[] = {"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", "y", "Y"};
  static constexpr std::string_view no[] = {"false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF", "n", "N"};
  auto among = [&](const auto& words) { return std::ranges::find(words, s) != std::end(words); };
  if (among(nulls)) return nullptr;
  if (among(yes)) return true;
  if (among(no)) return false;
  if (s.find_first_not_of("0123456789+-._eExXoObBaAcCdDfF") != std::string::npos) return Value(s);

  std::string digits;
  for (const char c : s)
    if (c != '_') digits += c;
  const bool negative = digits.starts_with('-');
  std::string_view d = digits;
  if (negative || d.starts_with('+')) d.remove_prefix(1);
  int base = 10;
  if (d.starts_with("0x") || d.starts_with("0X")) base = 16;
  if (d.starts_with("0o") || d.starts_with("0O")) base = 8;
  if (d.starts_with("0b") || d.starts_with("0B")) base = 2;
  if (base != 10) d.remove_prefix(2);
  if (base == 10 && d.size() > 1 && d[0] == '0') {
    base = 8;  // a leading zero, as in file modes
    d.remove_prefix(1);
  }
  std::uint64_t n = 0;
  const auto [end, ec] = std::from_chars(d.data(), d.data() + d.size(), n, base);
  if (!d.empty() && ec == std::errc() && end == d.data() + d.size()) {
    if (!negative && n <= std::numeric_limits<std::int64_t>::max()) return static_cast<std::int64_t>(n);
    if (!negative) return n;
    if (n <= std::uint64_t{1} << 63) return static_cast<std::int64_t>(0 - n);
  }
  // A number with a point or an exponent; .inf and .nan have no JSON form and stay texts.
  const auto dot = digits.find_first_of(".eE");
  const bool has_digit = digits.find_first_of("0123456789") != std::string::npos;
  if (dot != std::string::npos && has_digit && digits.find_first_not_of("0123456789+-.eE") == std::string::npos) {
    const auto text = digits.starts_with('+') ? std::string_view(digits).substr(1) : std::string_view(digits);
    double x = 0;
    const auto r = std::from_chars(text.data(), text.data() + text.size(), x);
    if (r.ec == std::errc() && r.ptr == text.data() + text.size()) {
      if (x == std::floor(x) && std::abs(x) < 9e15) return static_cast<std::int64_t>(x);
      return x;
    }
  }
  return Value(s);
}

// What the two readers differ in: a text here, though from_plain() would make something else of it.
bool text_for_pyyaml(std::string_view s) {
  if (s == "y" || s == "Y" || s == "n" || s == "N") return true;
  if (s.starts_with("0o") || s.starts_with("0O")) return true;
  const bool hex = s.find_first_of("xX") != std::string_view::npos;
  const auto e = s.find_first_of("eE");
  if (hex || e == std::string_view::npos || s.find_first_of("0123456789") == std::string_view::npos) return false;
  // Numbers with an exponent have a point before it and a sign after it.
  return s.find('.') > e || e + 1 >= s.size() || (s[e + 1] != '+' && s[e + 1] != '-');
}

std::string key_text(const Value& v) {
  if (v.is_string()) return std::string(v.get_string());
  if (v.is_null()) return "null";
  if (v.is_bool()) return v.get_bool() ? "true" : "false";
  if (v.is_int64()) return fmt::format("{}", v.get_int64());
  if (v.is_uint64()) return fmt::format("{}", v.get_uint64());
  if (v.is_double()) return fmt::format("{}", v.get_double());
  return {};
}

std::size_t count(const Value& v) {
  std::size_t n = 1;
  if (v.is_array())
    for (const auto& x : v.get_array()) n += count(x);
  if (v.is_object())
    for (const auto& [k, x] : v.get_object()) n += count(x);
  return n;
}

class Builder : public YAML::EventHandler {
 public:
  Builder(std::vector<std::string>& duplicates, bool pyyaml) : duplicates_(duplicates), pyyaml_(pyyaml) {}

  Value take() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override { add(mark, nullptr, anchor); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto it = anchors_.find(anchor);
    if (it == anchors_.end()) return add(mark, nullptr, 0);
    nodes_ += it->second.second;
    add(mark, it->second.first, 0);
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, const std::string& v) override {
    const bool text = tag == "!" || tag == "tag:yaml.org,2002:str" || (pyyaml_ && text_for_pyyaml(v));
    add(mark, text ? Value(v) : from_plain(v), anchor);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(mark, Array{}, anchor);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(mark, Object{}, anchor);
  }
  void OnMapEnd() override { close(); }

 private:
  struct Open {
    Value value;
    std::optional<std::string> key;
    YAML::anchor_t anchor = 0;
    YAML::Mark mark;
    Object merged;  // of `<<`: gives way to what the map says itself
  };

  void open(const YAML::Mark& mark, Value v, YAML::anchor_t anchor) {
    if (stack_.size() >= deepest) throw TooLarge{};
    Open o;
    o.value = std::move(v);
    o.anchor = anchor;
    o.mark = mark;
    stack_.push_back(std::move(o));
  }
  void close() {
    auto top = std::move(stack_.back());
    stack_.pop_back();
    for (auto& [k, v] : top.merged)
      if (!top.value.get_object().contains(k)) top.value.get_object()[k] = v;
    add(top.mark, std::move(top.value), top.anchor);
  }
  void add(const YAML::Mark& mark, Value v, YAML::anchor_t anchor) {
    if (++nodes_ > most_nodes) throw TooLarge{};
    if (anchor != 0) anchors_[anchor] = {v, count(v)};
    if (stack_.empty()) {
      root_ = std::move(v);
      return;
    }
    auto& top = stack_.back();
    if (top.value.is_array()) {
      top.value.get_array().push_back(std::move(v));
    } else if (!top.key) {
      top.key = key_text(v);
      key_line_ = mark.line + 1;
    } else {
      member(top, std::move(v));
    }
  }
  void member(Open& top, Value v) {
    const auto key = std::move(*top.key);
    top.key.reset();
    auto& o = top.value.get_object();
    if (key == "<<" && (v.is_object() || v.is_array())) {
      auto merge = [&](const Value& x) {
        if (x.is_object())
          for (const auto& [k, y] : x.get_object())
            if (!top.merged.contains(k)) top.merged[k] = y;
      };
      if (v.is_array())
        for (const auto& x : v.get_array()) merge(x);
      else
        merge(v);
      return;
    }
    if (o.contains(key) && faults_ < most_faults) {
      ++faults_;
      if (duplicates_.empty()) duplicates_.emplace_back("yaml: unmarshal errors:");
      duplicates_.back() += fmt::format("\n  line {}: key \"{}\" already set in map", key_line_, key);
    }
    o[key] = std::move(v);
  }

  std::vector<std::string>& duplicates_;
  bool pyyaml_;
  Value root_;
  std::vector<Open> stack_;
  std::unordered_map<YAML::anchor_t, std::pair<Value, std::size_t>> anchors_;
  std::size_t nodes_ = 0, faults_ = 0;
  int key_line_ = 0;
};

// A text of bytes read in place.
class View : public std::streambuf {
 public:
  explicit View(std::string_view s) {
    auto* p = const_cast<char*>(s.data());
    setg(p, p, p + s.size());
  }
};

}  // namespace

Result<Value> parse_yaml(std::string_view text, std::vector<std::string>& duplicates, bool pyyaml) {
  // Bytes that are no text would be replaced, and two keys become one.
  if (!text::utf8_valid(text)) return fail(Code::invalid_argument, "yaml: invalid leading UTF-8 octet");
  std::vector<std::string> found;
  try {
    View view(text);
    std::istream in(&view);
    YAML::Parser parser(in);
    Builder builder(found, pyyaml);
    parser.HandleNextDocument(builder);
    for (auto& f : found) duplicates.push_back(std::move(f));
    return builder.take();
  } catch (const YAML::ParserException& e) {
    // The real reader's words where it has others for the same fault.
    const bool open_flow = e.msg.find("flow not found") != std::string::npos;
    return fail(Code::invalid_argument,
                fmt::format("yaml: line {}: {}", std::max(1, open_flow ? e.mark.line : e.mark.line + 1),
                            open_flow ? "did not find expected node content" : e.msg));
  } catch (const TooLarge&) {
    return fail(Code::invalid_argument, "yaml: document contains excessive aliasing or nesting");
  } catch (const std::exception& e) {
    return fail(Code::invalid_argument, fmt::format("yaml: {}", e.what()));
  }
}

}  // namespace mr::kube::decode
