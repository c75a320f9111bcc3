/* SPDX-License-Identifier: MIT */
/*
 * The Venus wire format: tables that say how every Vulkan command and struct is laid out, in memory
 * and on the wire, and one decoder and one encoder that walk them.
 *
 * The tables are generated at build time (tools/gen-venus). A table-driven codec was preferred to
 * generated code for every struct: it is small enough to be read, fuzzed and trusted as a whole,
 * and a bound is checked in one place instead of a thousand. docs/internals/gpu-venus.md has the
 * cost measured.
 */
#ifndef PV_GPU_VENUS_WIRE_H
#define PV_GPU_VENUS_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gpu/venus_protocol.h"

/* ---- Tables ---- */

enum pv_vn_kind {
    PV_VN_SCALAR,
    PV_VN_HANDLE, /* a u64 id on the wire, the driver's handle in memory */
    PV_VN_STRUCT,
    PV_VN_STRING,  /* an array of strlen + 1 bytes */
    PV_VN_STYPE,   /* a struct's sType */
    PV_VN_CHAIN,   /* a struct's pNext */
    PV_VN_NOTHING, /* a pointer that is always NULL (pAllocator) */
};

enum pv_vn_shape {
    PV_VN_VALUE,
    PV_VN_POINTER, /* u64 0 or 1, then the element */
    PV_VN_FIXED,   /* u64 count, then the elements, which lie in the struct */
    PV_VN_ARRAY,   /* u64 count (0: NULL), then the elements */
};

enum pv_vn_len {
    PV_VN_LEN_CONST,
    PV_VN_LEN_FIELD,   /* a member at len_offset */
    PV_VN_LEN_WORDS,   /* that member is in bytes, the elements are 32-bit words */
    PV_VN_LEN_MASK,    /* that member counts bits, the elements are 32-bit words */
    PV_VN_LEN_POINTER, /* len_offset holds a pointer to the length (in/out counts) */
    PV_VN_LEN_VIA, /* len_offset holds a pointer to a struct, the length is at len_inner in it */
};

#define PV_VN_OUT      1u /* the command writes it: in full in the reply, partially in the request */
#define PV_VN_OPTIONAL 2u /* NULL (for handles: null) is allowed */
#define PV_VN_NEW      4u /* handles that the command creates; the guest chose their ids */
#define PV_VN_LENGTH   8u /* an array's length: sent even where only lengths are */

struct pv_vn_field {
    uint8_t kind;
    uint8_t shape;
    uint8_t flags;
    uint8_t wire;  /* scalars: bytes on the wire */
    uint16_t size; /* bytes of an element in memory */
    uint16_t offset;
    uint16_t type;  /* pv_vn_struct_id or pv_vn_handle */
    uint16_t count; /* PV_VN_FIXED, PV_VN_LEN_CONST */
    uint16_t ids;   /* PV_VN_NEW: where the pointer to the ids is */
    uint8_t len;
    uint8_t len_size;
    uint16_t len_offset;
    uint16_t len_inner;
    uint16_t run; /* from here on, so many inputs are one word each and lie in a row; 0: no row */
};

struct pv_vn_struct {
    const char *name;
    uint32_t size;
    VkStructureType stype; /* 0 where it has none (or is VkApplicationInfo) */
    uint16_t first_field, field_count;
    uint16_t first_chain, chain_count; /* structs that its pNext chain may hold */
    bool is_union;                     /* fields are members by tag */
    uint8_t tag;                       /* the member that we send */
};

enum pv_vn_ret { PV_VN_RET_NONE, PV_VN_RET_RESULT, PV_VN_RET_U32, PV_VN_RET_U64 };
enum pv_vn_role { PV_VN_ROLE_NONE, PV_VN_ROLE_CREATE, PV_VN_ROLE_DESTROY };
enum pv_vn_level { PV_VN_LEVEL_GLOBAL, PV_VN_LEVEL_INSTANCE, PV_VN_LEVEL_DEVICE };

struct pv_vn_command {
    const char *name;
    uint16_t number;
    uint16_t args_size; /* of its struct pv_vn_<name> */
    uint16_t first_param, param_count;
    uint8_t ret;
    uint16_t ret_offset;
    uint8_t level;
    uint8_t role;       /* what it does to the handle tables */
    uint8_t role_param; /* the parameter that holds the handles concerned */
};

struct pv_vn_extension {
    const char *name;
    uint32_t number;
    bool served_here; /* offered whether or not the host driver has it */
};

extern const struct pv_vn_field pv_vn_struct_fields[];
extern const uint16_t pv_vn_chains[];
extern const struct pv_vn_struct pv_vn_structs[PV_VN_STRUCT_COUNT];
extern const char *const pv_vn_handle_names[PV_VN_HANDLE_COUNT];
extern const struct pv_vn_field pv_vn_params[];
extern const struct pv_vn_command pv_vn_commands[PV_VN_COMMAND_COUNT];
extern const uint16_t pv_vn_command_by_number[PV_VN_COMMAND_NUMBERS];
extern const struct pv_vn_extension pv_vn_extensions[PV_VN_EXTENSIONS];

/* The command with a wire number, or NULL. */
const struct pv_vn_command *pv_vn_command_find(uint32_t number);

/* ---- Temporary memory ---- */

/*
 * Memory for one command's decoded arguments. Zeroed, aligned to 16, gone at the next reset. What a
 * guest can make us allocate is `max`; the first block is kept from command to command.
 */
struct pv_vn_arena {
    struct pv_vn_arena_block *blocks; /* newest first */
    size_t used;                      /* of the newest block */
    size_t total;                     /* of all blocks since the reset */
    size_t max;
};

#define PV_VN_ARENA_INIT(limit) ((struct pv_vn_arena){.max = (limit)})

/* NULL beyond the maximum or when out of memory. size 0 gives a pointer too. */
void *pv_vn_arena_alloc(struct pv_vn_arena *arena, size_t size);
void pv_vn_arena_reset(struct pv_vn_arena *arena);
void pv_vn_arena_finish(struct pv_vn_arena *arena);

/* ---- Decoding ---- */

/*
 * Reads commands. `failed` is sticky: after the first error nothing more is read, every getter
 * gives 0, and `why` names the cause. The bytes may change under us (a guest writes its rings at
 * will), so each is read exactly once.
 */
struct pv_vn_decoder {
    const uint8_t *cur, *end;
    struct pv_vn_arena *arena;
    bool failed;
    bool dead; /* a handle named an object whose creation failed: skip the command */
    char why[96];

    /* Turns an id into the driver's handle. Sets *dead for objects that never came to be. */
    bool (*resolve)(void *opaque, unsigned type, uint64_t id, uint64_t *handle, bool *dead);
    /* As resolve, for tests and clients that decode replies: may be NULL. */
    void *opaque;
};

void pv_vn_fail(struct pv_vn_decoder *dec, const char *fmt, ...)
    __attribute__((cold, format(printf, 2, 3)));

uint32_t pv_vn_get_u32(struct pv_vn_decoder *dec);
uint64_t pv_vn_get_u64(struct pv_vn_decoder *dec);

/* A request's parameters (after number and flags) into `args` (zeroed, args_size bytes). */
bool pv_vn_decode_request(struct pv_vn_decoder *dec, const struct pv_vn_command *cmd, void *args);

/* A reply (after the number) into the same `args` that the request was encoded from. */
bool pv_vn_decode_reply(struct pv_vn_decoder *dec, const struct pv_vn_command *cmd, void *args);

/* ---- Encoding ---- */

/* Writes replies; `failed` is sticky and means that the room was too small. */
struct pv_vn_encoder {
    uint8_t *cur, *end;
    bool failed;
    /* Turns a driver's handle that a command returned into its id. */
    uint64_t (*name)(void *opaque, unsigned type, uint64_t handle);
    void *opaque;
};

void pv_vn_put_u32(struct pv_vn_encoder *enc, uint32_t value);
void pv_vn_put_u64(struct pv_vn_encoder *enc, uint64_t value);

/* The number, the result and the out parameters of an executed command. */
void pv_vn_encode_reply(struct pv_vn_encoder *enc, const struct pv_vn_command *cmd,
                        const void *args);

/* Number, flags and parameters: what a guest driver does. For tests and benchmarks. */
void pv_vn_encode_request(struct pv_vn_encoder *enc, const struct pv_vn_command *cmd,
                          uint32_t flags, const void *args);

/* The number of elements that a dynamic array's length member or parameter says. */
uint64_t pv_vn_array_length(const struct pv_vn_field *field, const void *base);

/* The first struct of a pNext chain with that sType, or NULL. */
const void *pv_vn_chain_find(const void *pnext, VkStructureType stype);

#endif
