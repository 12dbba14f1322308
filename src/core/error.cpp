#include "core/error.h"

#include <fmt/format.h>

#include <cstring>

namespace mr {

std::string_view code_name(Code code) {
  switch (code) {
    case Code::invalid_argument:
      return "invalid_argument";
    case Code::not_found:
      return "not_found";
    case Code::already_exists:
      return "already_exists";
    case Code::failed_precondition:
      return "failed_precondition";
    case Code::conflict:
      return "conflict";
    case Code::permission_denied:
      return "permission_denied";
    case Code::unauthenticated:
      return "unauthenticated";
    case Code::resource_exhausted:
      return "resource_exhausted";
    case Code::too_large:
      return "too_large";
    case Code::unsupported:
      return "unsupported";
    case Code::unimplemented:
      return "unimplemented";
    case Code::unavailable:
      return "unavailable";
    case Code::deadline_exceeded:
      return "deadline_exceeded";
    case Code::cancelled:
      return "cancelled";
    case Code::data_loss:
      return "data_loss";
    case Code::internal:
      return "internal";
  }
  return "internal";
}

std::unexpected<Error> fail_errno(std::string_view what, int err) {
  Code code = err == ENOENT                    ? Code::not_found
              : err == ENOSPC || err == EDQUOT ? Code::resource_exhausted
                                               : Code::internal;
  return fail(code, fmt::format("{}: {}", what, std::strerror(err)));
}

}  // namespace mr
