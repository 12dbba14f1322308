// The wire form of protocol buffers: fields read one after another from hostile bytes, and written. No message types:
// who speaks a protocol names its fields. A Reader and the texts it gives are views; neither is thread safe.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mr::grpc {

class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}

  // Moves to the next field; false at the end, or when the bytes are broken (then ok() is false).
  bool next();
  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] std::uint32_t field() const { return field_; }

  // The field's value. One of another wire type makes the message broken and gives 0 or an empty text.
  std::uint64_t varint();
  std::int64_t int64() { return static_cast<std::int64_t>(varint()); }
  std::int32_t int32() { return static_cast<std::int32_t>(varint()); }
  bool boolean() { return varint() != 0; }
  float fp32();
  double fp64();
  std::string_view bytes();  // also texts and messages

  // Appends the values of a repeated field: one, or many packed into a length-delimited field. At most `limit` in all.
  template <class T>
  void repeated_varint(std::vector<T>& out, std::size_t limit) {
    if (type_ != kBytes) {
      append(out, static_cast<T>(varint()), limit);
      return;
    }
    Reader packed(value_);
    while (ok_ && !packed.rest_.empty()) {
      auto v = packed.take_varint();
      ok_ = packed.ok_;
      if (ok_) append(out, static_cast<T>(v), limit);
    }
  }
  void repeated_fp32(std::vector<double>& out, std::size_t limit);
  void repeated_fp64(std::vector<double>& out, std::size_t limit);

 private:
  enum Type : std::uint8_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };
  template <class T>
  void append(std::vector<T>& out, T v, std::size_t limit) {
    if (out.size() >= limit)
      ok_ = false;
    else
      out.push_back(v);
  }
  std::uint64_t take_varint();

  std::string_view rest_;
  bool ok_ = true;
  std::uint32_t field_ = 0;
  std::uint8_t type_ = kVarint;
  std::uint64_t number_ = 0;  // of a varint or fixed field
  std::string_view value_;    // of a length-delimited one
};

// Appends fields to a text. Values that are a field's default are written too: the caller leaves them out.
class Writer {
 public:
  explicit Writer(std::string& out) : out_(out) {}
  void varint(std::uint32_t field, std::uint64_t v);
  void boolean(std::uint32_t field, bool v) { varint(field, v ? 1 : 0); }
  void bytes(std::uint32_t field, std::string_view v);
  void fp64(std::uint32_t field, double v);
  // Packed repeated fields; nothing is written for no values.
  template <class T>
  void packed_varint(std::uint32_t field, const std::vector<T>& values) {
    if (values.empty()) return;
    std::string body;
    for (auto v : values) put_varint(body, static_cast<std::uint64_t>(static_cast<std::int64_t>(v)));
    bytes(field, body);
  }
  void packed_fp32(std::uint32_t field, const std::vector<double>& values);
  void packed_fp64(std::uint32_t field, const std::vector<double>& values);

 private:
  static void put_varint(std::string& out, std::uint64_t v);
  std::string& out_;
};

}  // namespace mr::grpc
