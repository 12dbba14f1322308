// The four ways to change an object by a patch. Pure functions of their arguments; bounded in depth and size.
#pragma once
#include <string>
#include <string_view>

#include "kube/errors.h"
#include "kube/kinds.h"

namespace mr::kube {

// RFC 6902. Errors: 422/400 with the real server's texts. At most 10,000 operations.
std::expected<Value, ApiError> json_patch(const Value& document, const Value& operations);
// RFC 7396.
void merge_patch(Value& document, const Value& patch);
// Strategic merge by the schema's merge keys, with $patch, $setElementOrder/x, $deleteFromPrimitiveList/x, $retainKeys.
std::expected<Object, ApiError> strategic_merge(const Object& document, const Object& patch, const Type& type);

struct ApplyOptions {
  std::string manager;
  bool force = false;
  std::string subresource;  // "" or "status"
  std::string api_version;  // of the request
};
// Server-side apply: merges `applied` into `live` (null: creates) by ownership in metadata.managedFields, and writes
// the new managedFields. Errors: 409 with FieldManagerConflict causes, 400.
std::expected<Object, ApiError> apply(const Object* live, const Object& applied, const Type* type,
                                      const ApplyOptions& o);
// After any other write: what changed between `before` (null: created) and `after` belongs to `manager` from now on.
// `operation`: Update. Writes after's managedFields.
void track_update(const Object* before, Object& after, const Type* type, std::string_view manager,
                  std::string_view api_version, std::string_view subresource);

}  // namespace mr::kube
