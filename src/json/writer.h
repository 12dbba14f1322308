// Append-only JSON writer. One value is built from left to right; commas, quotes and indentation are its job.
// Not thread safe.
#pragma once
#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

namespace mr::json {

// Appends `s` quoted and escaped; invalid UTF-8 bytes become U+FFFD.
void append_string(std::string& out, std::string_view s);
// The same with all but ASCII escaped, as Python's json.dumps writes texts.
void append_string_ascii(std::string& out, std::string_view s);
// Shortest text that reads back to the same double; always with a '.' or exponent ("1.0"). NaN and infinities have
// no JSON form: the caller decides.
void append_double(std::string& out, double v);

class Writer {
 public:
  // indent 0: compact, no spaces.
  explicit Writer(std::string& out, int indent = 0) : out_(out), indent_(indent) {}

  void begin_object() { open('{'); }
  void end_object() { close('}'); }
  void begin_array() { open('['); }
  void end_array() { close(']'); }
  void key(std::string_view k) {
    element();
    append_string(out_, k);
    out_ += ':';
    if (indent_ > 0) out_ += ' ';
    after_key_ = true;
  }
  void string(std::string_view v) {
    element();
    append_string(out_, v);
  }
  void raw(std::string_view v) {
    element();
    out_ += v;
  }
  void number(double v) {
    element();
    append_double(out_, v);
  }
  void integer(std::int64_t v) {
    element();
    char buf[24];
    out_.append(buf, std::to_chars(buf, buf + sizeof buf, v).ptr);
  }
  void boolean(bool v) {
    element();
    out_ += v ? "true" : "false";
  }
  void null() {
    element();
    out_ += "null";
  }

  template <class T>
  void field(std::string_view k, const T& v) {
    key(k);
    if constexpr (std::is_same_v<T, bool>)
      boolean(v);
    else if constexpr (std::is_integral_v<T>)
      integer(static_cast<std::int64_t>(v));
    else if constexpr (std::is_floating_point_v<T>)
      number(v);
    else
      string(std::string_view(v));
  }

 private:
  void element() {
    if (after_key_) {
      after_key_ = false;
      return;
    }
    if (depth_ == 0) return;
    if (!first_) out_ += ',';
    first_ = false;
    newline();
  }
  void newline() {
    if (indent_ > 0) {
      out_ += '\n';
      out_.append(static_cast<std::size_t>(depth_) * static_cast<std::size_t>(indent_), ' ');
    }
  }
  void open(char c) {
    element();
    out_ += c;
    ++depth_;
    first_ = true;
  }
  void close(char c) {
    --depth_;
    if (!first_) newline();
    out_ += c;
    first_ = false;
  }

  std::string& out_;
  int indent_;
  int depth_ = 0;
  bool first_ = true;
  bool after_key_ = false;
};

}  // namespace mr::json
