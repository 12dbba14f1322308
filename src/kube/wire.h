// Documents that the API server derives from kinds: discovery, OpenAPI v3, Table answers, protobuf bodies, strict
// decoding. Pure functions of kinds and objects: thread safe.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kube/errors.h"
#include "kube/kinds.h"

namespace mr::kube {

// Discovery documents as JSON text. aggregated: APIGroupDiscoveryList v2 (v2beta1 has the same shape) for /api (core)
// or /apis.
std::string aggregated_discovery(const Kinds& kinds, bool core, std::string_view version);
std::string api_versions_document(std::string_view server_address);                // GET /api
std::string api_group_list(const Kinds& kinds);                                    // GET /apis
std::optional<std::string> api_group(const Kinds& kinds, std::string_view group);  // GET /apis/{group}
std::optional<std::string> api_resource_list(const Kinds& kinds, std::string_view group, std::string_view version);

// OpenAPI v3: the index ({"paths": {"api/v1": {"serverRelativeURL": …?hash=…}}}) and one group version's document,
// whose operations list fieldValidation (kubectl then leaves validation to us) and whose schemas have descriptions
// (kubectl explain). `path` is "api/v1" or "apis/apps/v1".
std::string openapi_index(const Kinds& kinds);
std::optional<std::string> openapi_document(const Kinds& kinds, std::string_view path);

// Table answers: the columns of a kind (Name first) and the cells of one object, in that order.
struct TableOptions {
  bool no_object = false;           // includeObject=None
  bool full_object = false;         // includeObject=Object; else PartialObjectMetadata
  std::string_view version = "v1";  // of meta.k8s.io
};
std::vector<Column> table_columns(const Kind& kind, const KindVersion& version);
Array table_cells(const Kind& kind, const KindVersion& version, const Object& object);
// A whole Table document as JSON text. `columns` false: later events of a watch may leave the definitions out.
std::string table_document(const Kind& kind, const KindVersion& version, const std::vector<ObjectPtr>& objects,
                           std::string_view list_metadata_json, TableOptions options, bool columns = true);

// A protobuf body (magic "k8s\0", runtime.Unknown) as the object it stands for, by the field numbers of the
// descriptions. Errors: 400. Depth and sizes are bounded.
std::expected<Object, ApiError> decode_protobuf(std::string_view body);

// Parses a JSON or YAML body to an object. `duplicates` receives each duplicate field as the strict decoder words it:
// `duplicate field "spec.x"`.
std::expected<Object, ApiError> decode_text(std::string_view body, bool yaml, std::vector<std::string>& duplicates);
// A document as YAML, keys in order.
std::string yaml_text(const Value& v);
// The beginning of a body, as errors quote it.
std::string snippet(std::string_view body);
// Checks JSON types against the schema: the real server's text for a wrong one (`json: cannot unmarshal string into Go
// struct field DeploymentSpec.spec.replicas of type int32`); nullopt when all fit. `unknown` receives each unknown
// field
// (`unknown field "spec.x"`).
std::optional<std::string> check_types(const Type& type, const Object& object, std::vector<std::string>& unknown);

}  // namespace mr::kube
