// Errors are values: every fallible function returns Result<T>. An Error is neutral; one table per wire turns its code
// into an HTTP status, an MLflow error_code, an S3 code and so on. Thread safe: plain values.
#pragma once
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace mr {

enum class Code : std::uint8_t {
  invalid_argument,     // the request is wrong whatever the state
  not_found,            // the thing named does not exist
  already_exists,       // the thing named exists
  failed_precondition,  // right request, wrong state
  conflict,             // lost a race or a version check
  permission_denied,
  unauthenticated,
  resource_exhausted,  // a limit of the caller: try later
  too_large,           // a body, name or count over its limit
  unsupported,         // a media type or encoding we do not take
  unimplemented,
  unavailable,
  deadline_exceeded,
  cancelled,
  data_loss,
  internal,
};

// The neutral name of a code, e.g. "not_found".
std::string_view code_name(Code code);

struct Error {
  Code code = Code::internal;
  std::string message;  // public: goes to the client
  std::string reason;   // id within a wire, e.g. "NoSuchKey"; empty: the wire's default for the code
  std::string detail;   // private: goes to the log only
};

template <class T = void>
using Result = std::expected<T, Error>;

inline std::unexpected<Error> fail(Code code, std::string message, std::string reason = {}, std::string detail = {}) {
  return std::unexpected(Error{code, std::move(message), std::move(reason), std::move(detail)});
}

// The text of errno-style `err` for `what`, as an internal error.
std::unexpected<Error> fail_errno(std::string_view what, int err);

}  // namespace mr

#define MR_CAT2(a, b) a##b
#define MR_CAT(a, b) MR_CAT2(a, b)
// NOLINTBEGIN(bugprone-macro-parentheses): a declaration cannot stand in parentheses.
// MR_TRY(auto x, expr): x is the value of expr, or the function returns its error.
#define MR_TRY(decl, expr)                                                                              \
  auto MR_CAT(mr_try_, __LINE__) = (expr);                                                              \
  if (!MR_CAT(mr_try_, __LINE__)) return std::unexpected(std::move(MR_CAT(mr_try_, __LINE__)).error()); \
  decl = std::move(*MR_CAT(mr_try_, __LINE__))
// MR_CHECK(expr): as MR_TRY, for Result<void>.
#define MR_CHECK(expr)                                                                             \
  do {                                                                                             \
    if (auto mr_check_ = (expr); !mr_check_) return std::unexpected(std::move(mr_check_).error()); \
  } while (false)
// The same two inside coroutines.
#define MR_CO_TRY(decl, expr)                                                                              \
  auto MR_CAT(mr_try_, __LINE__) = (expr);                                                                 \
  if (!MR_CAT(mr_try_, __LINE__)) co_return std::unexpected(std::move(MR_CAT(mr_try_, __LINE__)).error()); \
  decl = std::move(*MR_CAT(mr_try_, __LINE__))
#define MR_CO_CHECK(expr)                                                                             \
  do {                                                                                                \
    if (auto mr_check_ = (expr); !mr_check_) co_return std::unexpected(std::move(mr_check_).error()); \
  } while (false)
// NOLINTEND(bugprone-macro-parentheses)
