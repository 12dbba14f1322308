#include <bit>
#include <cmath>
#include <cstring>

#include "serving/v2_request.h"
#include "text/text.h"

namespace mr::serving {

namespace {

static_assert(std::endian::native == std::endian::little, "raw tensors are little-endian and copied as they are");

// IEEE binary16 to double and back (to nearest, ties to even).
double half_to_double(std::uint16_t h) {
  int exponent = (h >> 10) & 0x1F;
  int fraction = h & 0x3FF;
  double v = exponent == 0    ? std::ldexp(fraction, -24)
             : exponent == 31 ? (fraction != 0 ? std::nan("") : HUGE_VAL)
                              : std::ldexp(fraction + 1024, exponent - 25);
  return (h & 0x8000) != 0 ? -v : v;
}
std::uint16_t half_of_double(double d) {
  std::uint16_t sign = std::signbit(d) ? 0x8000 : 0;
  if (std::isnan(d)) return static_cast<std::uint16_t>(sign | 0x7E00);
  d = std::fabs(d);
  if (d == 0) return sign;
  if (d >= 65520) return static_cast<std::uint16_t>(sign | 0x7C00);
  int e = 0;
  std::frexp(d, &e);
  e = std::max(e, -13);                                // below: denormal
  auto units = std::nearbyint(std::ldexp(d, 11 - e));  // of the last place
  auto whole = static_cast<int>(units);                // 0 .. 2048
  int biased = (e + 13) << 10;
  return static_cast<std::uint16_t>(sign | (biased + whole));  // a carry moves into the exponent
}

template <class T>
void spread(std::string_view raw, std::vector<double>& out) {
  const auto n = raw.size() / sizeof(T);
  const auto at = out.size();
  out.resize(at + n);
  for (std::size_t i = 0; i < n; ++i) {
    T v;
    std::memcpy(&v, raw.data() + i * sizeof(T), sizeof(T));
    out[at + i] = static_cast<double>(v);
  }
}

template <class T>
std::string gather(const OutputPart& p) {
  const auto n = p.integers.empty() ? p.numbers.size() : p.integers.size();
  std::string out(n * sizeof(T), '\0');
  for (std::size_t i = 0; i < n; ++i) {
    T v = p.integers.empty() ? static_cast<T>(p.numbers[i]) : static_cast<T>(p.integers[i]);
    std::memcpy(out.data() + i * sizeof(T), &v, sizeof(T));
  }
  return out;
}

std::size_t item_size(DataType t) {
  static constexpr std::size_t sizes[] = {1, 1, 2, 4, 8, 1, 2, 4, 8, 2, 4, 8, 0};
  return sizes[static_cast<std::size_t>(t)];
}

}  // namespace

bool in_range(DataType type, double v) {
  switch (type) {
    case DataType::uint8:
      return v >= 0 && v <= 255;
    case DataType::uint16:
      return v >= 0 && v <= 65535;
    case DataType::uint32:
      return v >= 0 && v <= 4294967295.0;
    case DataType::uint64:
      return v >= 0 && v < 18446744073709551616.0;
    case DataType::int8:
      return v >= -128 && v <= 127;
    case DataType::int16:
      return v >= -32768 && v <= 32767;
    case DataType::int32:
      return v >= -2147483648.0 && v <= 2147483647.0;
    default:
      return v >= -9223372036854775808.0 && v < 9223372036854775808.0;
  }
}

std::optional<double> number_of_text(std::string_view t) {
  t = text::trim(t);
  if (t.starts_with('+')) t.remove_prefix(1);
  if (auto d = text::to_double(t)) return d;
  auto sign = t.starts_with('-') ? -1.0 : 1.0;
  if (t.starts_with('-')) t.remove_prefix(1);
  if (text::iequals(t, "nan")) return std::nan("");
  if (text::iequals(t, "inf") || text::iequals(t, "infinity")) return sign * HUGE_VAL;
  return std::nullopt;
}

Checked<bool> numbers_of_raw(const Input& in, std::string_view column, std::string_view raw, std::vector<double>& out) {
  if (in.type == DataType::bytes) {
    TextColumn texts;
    if (auto ok = texts_of_raw(column, raw, texts); !ok) return ok;
    for (const auto& t : texts.values) {
      auto v = number_of_text(t);
      if (!v)
        return refuse(
            fmt::format("the column '{}' has a text that is no number, and its datatype is BYTES", printable(column)));
      out.push_back(*v);
    }
    return true;
  }
  const auto size = item_size(in.type);
  if (raw.size() % size != 0)
    return refuse(fmt::format("the input '{}' has {} bytes of binary data, which is no multiple of the {} of {}",
                              printable(column), raw.size(), size, data_type_name(in.type)));
  if (raw.size() / size > kMaxValues) return refuse("the request holds more values than are taken");
  switch (in.type) {
    case DataType::boolean:
      for (char c : raw) out.push_back(c != 0 ? 1 : 0);
      break;
    case DataType::uint8:
      spread<std::uint8_t>(raw, out);
      break;
    case DataType::uint16:
      spread<std::uint16_t>(raw, out);
      break;
    case DataType::uint32:
      spread<std::uint32_t>(raw, out);
      break;
    case DataType::uint64:
      spread<std::uint64_t>(raw, out);
      break;
    case DataType::int8:
      spread<std::int8_t>(raw, out);
      break;
    case DataType::int16:
      spread<std::int16_t>(raw, out);
      break;
    case DataType::int32:
      spread<std::int32_t>(raw, out);
      break;
    case DataType::int64:
      spread<std::int64_t>(raw, out);
      break;
    case DataType::fp16:
      for (std::size_t i = 0; i + 1 < raw.size(); i += 2) {
        std::uint16_t h = 0;
        std::memcpy(&h, raw.data() + i, 2);
        out.push_back(half_to_double(h));
      }
      break;
    case DataType::fp32:
      spread<float>(raw, out);
      break;
    default:
      spread<double>(raw, out);
      break;
  }
  return true;
}

Checked<bool> texts_of_raw(std::string_view column, std::string_view raw, TextColumn& out) {
  auto broken = [&] {
    return refuse(
        fmt::format("the binary data of the input '{}' ends inside an element: BYTES elements have their "
                    "length in front, in four bytes",
                    printable(column)));
  };
  while (!raw.empty()) {
    std::uint32_t n = 0;
    if (raw.size() < sizeof n) return broken();
    std::memcpy(&n, raw.data(), sizeof n);
    raw.remove_prefix(sizeof n);
    if (n > raw.size()) return broken();
    if (out.values.size() >= kMaxValues) return refuse("the request holds more values than are taken");
    out.values.emplace_back(raw.substr(0, n));
    out.missing.push_back(0);
    raw.remove_prefix(n);
  }
  return true;
}

std::string raw_of(const OutputPart& p) {
  switch (p.type) {
    case DataType::boolean:
    case DataType::uint8:
      return gather<std::uint8_t>(p);
    case DataType::uint16:
      return gather<std::uint16_t>(p);
    case DataType::uint32:
      return gather<std::uint32_t>(p);
    case DataType::uint64:
      return gather<std::uint64_t>(p);
    case DataType::int8:
      return gather<std::int8_t>(p);
    case DataType::int16:
      return gather<std::int16_t>(p);
    case DataType::int32:
      return gather<std::int32_t>(p);
    case DataType::int64:
      return gather<std::int64_t>(p);
    case DataType::fp32:
      return gather<float>(p);
    case DataType::fp64:
      return gather<double>(p);
    case DataType::fp16: {
      std::string out;
      for (double v : p.numbers) {
        auto h = half_of_double(v);
        out.append(reinterpret_cast<const char*>(&h), sizeof h);
      }
      return out;
    }
    case DataType::bytes:
      break;
  }
  std::string out;
  for (const auto& t : p.texts) {
    auto n = static_cast<std::uint32_t>(t.size());
    out.append(reinterpret_cast<const char*>(&n), sizeof n);
    out += t;
  }
  return out;
}

}  // namespace mr::serving
