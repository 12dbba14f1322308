// SQL behind one small interface: a Connection runs statements that are prepared once and kept. Placeholders are '?'.
// Ownership: a Connection belongs to one thread at a time. The library beneath stays in sql.cpp.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"

namespace mr::sql {

// One argument of a statement; text is viewed, not copied, until the call ends.
struct Arg {
  enum class Kind : std::uint8_t { null, integer, real, text } kind = Kind::null;
  std::int64_t i = 0;
  double d = 0;
  std::string_view s;
  Arg() = default;
  Arg(std::nullptr_t) {}
  Arg(std::integral auto v) : kind(Kind::integer), i(static_cast<std::int64_t>(v)) {}
  Arg(double v) : kind(Kind::real), d(v) {}
  Arg(std::string_view v) : kind(Kind::text), s(v) {}
  Arg(const std::string& v) : kind(Kind::text), s(v) {}
  Arg(const char* v) : kind(Kind::text), s(v) {}
  template <class T>
  Arg(const std::optional<T>& v) : Arg(v ? Arg(*v) : Arg()) {}
};

// The current row of a query; valid inside the callback only.
class Row {
 public:
  virtual ~Row() = default;
  [[nodiscard]] virtual bool null(std::size_t i) const = 0;
  [[nodiscard]] virtual std::int64_t i64(std::size_t i) const = 0;
  [[nodiscard]] virtual double real(std::size_t i) const = 0;
  [[nodiscard]] virtual const std::string& text(std::size_t i) const = 0;
  [[nodiscard]] std::optional<std::int64_t> opt_i64(std::size_t i) const {
    return null(i) ? std::nullopt : std::optional(i64(i));
  }
  [[nodiscard]] std::optional<std::string> opt_text(std::size_t i) const {
    return null(i) ? std::nullopt : std::optional(text(i));
  }
};
using RowSink = std::function<void(const Row&)>;

enum class Dialect { sqlite, mysql, postgresql };

class Connection {
 public:
  // Opens (and creates, unless read_only) an SQLite file, with foreign keys on, case-sensitive LIKE, WAL and FULL sync.
  static Result<std::unique_ptr<Connection>> open_sqlite(const std::string& path, bool read_only);
  ~Connection();

  // Runs a statement that gives no rows; the number of rows it changed. Constraint violations are already_exists.
  Result<std::int64_t> exec(std::string_view sql, std::span<const Arg> args);
  template <class... A>
  Result<std::int64_t> exec(std::string_view sql, const A&... a) {
    std::array<Arg, sizeof...(A)> args{Arg(a)...};
    return exec(sql, std::span<const Arg>(args));
  }
  // Runs a query; `types` has one letter a column: i integer, d real, s text. Every row goes to `sink`.
  Result<void> query(std::string_view sql, std::string_view types, std::span<const Arg> args, const RowSink& sink);
  Result<void> query(std::string_view sql, std::string_view types, std::initializer_list<Arg> args,
                     const RowSink& sink) {
    return query(sql, types, std::span<const Arg>(args.begin(), args.size()), sink);
  }
  // Several statements without arguments, separated by ';' (schemas).
  Result<void> script(std::string_view sql);
  [[nodiscard]] Dialect dialect() const { return Dialect::sqlite; }

 private:
  struct Impl;
  explicit Connection(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace mr::sql
