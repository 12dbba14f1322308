// What a kind's objects are made of: types and fields, read once from the descriptions in kube/kinds/*.kinds.
// One description serves strict decoding, OpenAPI, protobuf, strategic merge and server-side apply.
// Ownership: types and fields live as long as the process (or, for a CRD, as its Kind). Immutable after loading: thread
// safe.
#pragma once
#include <boost/json/value.hpp>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"

namespace mr::kube {

struct Type;

enum class FieldType : std::uint8_t {
  string,
  boolean,
  int32,
  int64,
  number,         // a double
  bytes,          // base64 text
  time,           // metav1.Time, RFC 3339
  micro_time,     // metav1.MicroTime
  duration,       // metav1.Duration
  quantity,       // "500m", "1Gi", 1
  int_or_string,  // 80 or "http"
  object,         // `ref`
  any,            // any JSON value, kept as it is (RawExtension, x-kubernetes-preserve-unknown-fields)
};
enum class Container : std::uint8_t { one, list, map };  // map: string keys
enum class ListKind : std::uint8_t { atomic, set, map };

struct Field {
  std::string name;
  FieldType type = FieldType::string;
  Container container = Container::one;
  const Type* ref = nullptr;   // of type object
  std::uint16_t proto = 0;     // number in the protobuf message, 0: none
  std::uint16_t proto_in = 0;  // the field is in a message of its own there, with this number (a Volume's volumeSource)
  bool required = false;       // OpenAPI's required
  bool nullable = false;
  ListKind list_kind = ListKind::atomic;  // server-side apply
  std::vector<std::string> list_keys;     // of ListKind::map: key fields
  std::string merge_key;     // strategic merge: key of a merged list of objects; "" with merge: a set of primitives
  bool merge = false;        // strategic merge: merged, not replaced
  bool retain_keys = false;  // strategic merge: patchStrategy retainKeys
  bool atomic_map = false;   // an object or map that server-side apply owns as one
  std::vector<std::string> enums;
  // Absent is not the same as 0, "" or {}: a pointer in the Go type. The protobuf form writes the zeros of all others.
  bool optional = false;
  std::string go_type;  // of a text with a type of its own ("v1.RestartPolicy"): how errors about its JSON type name it
  std::string fallback;  // the value that an absent field of this text type stands for in list keys (a port's protocol)
  std::string doc;       // our own words: what `kubectl explain` shows
};

struct Type {
  std::string name;  // "io.k8s.api.core.v1.PodSpec": the key in OpenAPI's components
  std::string doc;
  std::vector<Field> fields;
  bool preserve_unknown = false;  // unknown fields are kept (CRDs)
  bool protobuf_only_value = false;
  [[nodiscard]] const Field* find(std::string_view field) const;
  [[nodiscard]] const Field* by_number(std::uint16_t proto) const;
};

// The structural schema (JSON) that a CustomResourceDefinition would have for `type`: what a built-in description of a
// custom kind (istio, KServe, Kubeflow) is validated by. Made once for each type; lives as long as the process.
const boost::json::value& structural_schema(const Type& type);

}  // namespace mr::kube
