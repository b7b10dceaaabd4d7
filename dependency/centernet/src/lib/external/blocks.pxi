# SPDX-License-Identifier: Apache-2.0
# Included by nms.pyx: rows in blocks of neighbours.
#
# Rows are cut into strips by x, strips into blocks by y: the bounds of a block are small whatever the density.
# Loops over a block have a fixed length, no call and no branch, so compilers make vector code of them.  A picked,
# dropped or missing row is an empty box of score -infinity, which touches nothing and is never the best.

cdef enum:
    SIZE = 32            # rows of a block, a multiple of LANES

cdef extern from *:
    """
    enum { LANES = 8 };

    /* GCC takes loops as short as these apart before it could make vectors of them, unless told not to. */
    #if defined(__GNUC__) && !defined(__clang__)
    #define AS_LOOP _Pragma("GCC unroll 1")
    #else
    #define AS_LOOP
    #endif

    /* The maximum of `count` values, a multiple of LANES. */
    static inline float highest(const float *values, Py_ssize_t count) {
        float top[LANES];
        Py_ssize_t start;
        int lane;
        AS_LOOP
        for (lane = 0; lane < LANES; lane++) top[lane] = values[lane];
        for (start = LANES; start < count; start += LANES) {
            AS_LOOP
            for (lane = 0; lane < LANES; lane++)
                top[lane] = top[lane] > values[start + lane] ? top[lane] : values[start + lane];
        }
        AS_LOOP
        for (lane = 0; lane < 4; lane++) top[lane] = top[lane] > top[lane + 4] ? top[lane] : top[lane + 4];
        top[0] = top[0] > top[2] ? top[0] : top[2];
        top[1] = top[1] > top[3] ? top[1] : top[3];
        return top[0] > top[1] ? top[0] : top[1];
    }
    """
    enum: LANES
    float _highest "highest"(const float* values, Py_ssize_t count) noexcept nogil


cdef struct Boxes:
    float* x1
    float* y1
    float* x2
    float* y2

cdef struct Blocks:
    Py_ssize_t count     # a multiple of LANES
    Boxes rows           # [count * SIZE], as area and score
    float* area
    float* score
    Boxes bounds         # [count], as best, reach and near
    float* best          # highest score of the block
    float* reach
    int* near            # indices of blocks that a search found

cdef struct Picked:
    float x1
    float y1
    float x2
    float y2
    double area


cdef inline float _min(float a, float b) noexcept nogil:
    return a if a < b else b


cdef inline float _max(float a, float b) noexcept nogil:
    return a if a > b else b


cdef inline double _area(float x1, float y1, float x2, float y2) noexcept nogil:
    return (<double>(x2 - x1) + 1.0) * (<double>(y2 - y1) + 1.0)


cdef inline Py_ssize_t _at_least(const float* values, Py_ssize_t count, float least, int* found) noexcept nogil:
    """Write the indices of values of at least `least` to `found`; their number.  `count` is a multiple of LANES."""
    cdef Py_ssize_t chunk, index, number = 0
    for chunk in range(count // LANES):
        if _highest(values + chunk * LANES, LANES) >= least:
            for index in range(chunk * LANES, chunk * LANES + LANES):
                found[number] = <int>index
                number += values[index] >= least
    return number


cdef inline void _clear(Blocks* blocks, Py_ssize_t slot) noexcept nogil:
    """Empty the row."""
    blocks.rows.x1[slot] = INFINITY
    blocks.rows.y1[slot] = INFINITY
    blocks.rows.x2[slot] = -INFINITY
    blocks.rows.y2[slot] = -INFINITY
    blocks.score[slot] = -INFINITY


cdef Picked _take(Blocks* blocks, Py_ssize_t slot) noexcept nogil:
    """Take the row out of its block."""
    cdef Picked picked
    cdef Py_ssize_t block = slot // SIZE
    picked.x1 = blocks.rows.x1[slot]
    picked.y1 = blocks.rows.y1[slot]
    picked.x2 = blocks.rows.x2[slot]
    picked.y2 = blocks.rows.y2[slot]
    picked.area = _area(picked.x1, picked.y1, picked.x2, picked.y2)
    _clear(blocks, slot)
    blocks.best[block] = _highest(blocks.score + block * SIZE, SIZE)
    return picked


cdef Py_ssize_t _find_near(Blocks* blocks, Picked picked) noexcept nogil:
    """Write the blocks whose bounds reach the box to `blocks.near`; their number."""
    cdef Py_ssize_t block
    cdef float one = 1
    cdef float* reach = blocks.reach
    cdef Boxes bounds = blocks.bounds
    for block in range(blocks.count):
        reach[block] = _min(_min(picked.x2, bounds.x2[block]) - _max(picked.x1, bounds.x1[block]),
                            _min(picked.y2, bounds.y2[block]) - _max(picked.y1, bounds.y1[block])) + one
    return _at_least(reach, blocks.count, 0, blocks.near)


cdef inline bint _intersect(Blocks* blocks, Py_ssize_t first, Picked picked, float* inter) noexcept nogil:
    """Intersections of a box with the SIZE rows from slot `first`, 0 where apart; whether any touches."""
    cdef Py_ssize_t row
    cdef float width, height, zero = 0, one = 1
    cdef const float* x1 = blocks.rows.x1 + first
    cdef const float* y1 = blocks.rows.y1 + first
    cdef const float* x2 = blocks.rows.x2 + first
    cdef const float* y2 = blocks.rows.y2 + first
    for row in range(SIZE):
        width = _min(picked.x2, x2[row]) - _max(picked.x1, x1[row]) + one
        height = _min(picked.y2, y2[row]) - _max(picked.y1, y1[row]) + one
        inter[row] = _max(width, zero) * _max(height, zero)
    return _highest(inter, SIZE) > zero


cdef Py_ssize_t _best(Blocks* blocks, const Py_ssize_t* place) noexcept nogil:
    """The slot of the highest score; of equal ones the one of the first place."""
    cdef int[SIZE] rows
    cdef Py_ssize_t block, row, slot, best = -1
    cdef float top = _highest(blocks.best, blocks.count)
    for block in range(_at_least(blocks.best, blocks.count, top, blocks.near)):
        for row in range(_at_least(blocks.score + blocks.near[block] * SIZE, SIZE, top, rows)):
            slot = blocks.near[block] * SIZE + rows[row]
            if best < 0 or place[slot] < place[best]:
                best = slot
    return best


cdef void _scale(const float[:, :] dets, unsigned short[:, ::1] key) noexcept nogil:
    """Box centres in 0..65535 along x (key 0) and y (key 1)."""
    cdef Py_ssize_t row
    cdef float x, y, left = INFINITY, right = -INFINITY, top = INFINITY, bottom = -INFINITY, across, down
    for row in range(dets.shape[0]):
        x = dets[row, 0] + dets[row, 2]
        y = dets[row, 1] + dets[row, 3]
        left = _min(x, left)
        right = _max(x, right)
        top = _min(y, top)
        bottom = _max(y, bottom)
    across = 65535 / (right - left) if right > left else 0
    down = 65535 / (bottom - top) if bottom > top else 0
    for row in range(dets.shape[0]):
        key[0, row] = <unsigned short>_min((dets[row, 0] + dets[row, 2] - left) * across, 65535)
        key[1, row] = <unsigned short>_min((dets[row, 1] + dets[row, 3] - top) * down, 65535)


cdef _neighbour_order(dets, Py_ssize_t strips):
    """Row indices in which neighbours follow each other: strips along x, each in order of y."""
    cdef Py_ssize_t slot, count = len(dets), span = 65536 // strips
    keys = np.empty((3, count), np.uint16)
    cdef unsigned short[:, ::1] key = keys
    _scale(dets, key)
    across = np.argsort(keys[0], kind="stable")
    cdef const Py_ssize_t[::1] row = across
    for slot in range(count):
        key[2, slot] = <unsigned short>(slot * strips // count * span + key[1, row[slot]] // strips)
    return across[np.argsort(keys[2], kind="stable")]


cdef void _fill(Blocks* blocks, const float[:, :] dets, const Py_ssize_t[::1] order,
                bint single) noexcept nogil:
    """Copy the rows in `order` and bound the blocks; areas are products in double, with `single` in float32."""
    cdef Py_ssize_t slot, row, block
    cdef float one = 1
    cdef Boxes rows = blocks.rows, bounds = blocks.bounds
    for slot in range(blocks.count * SIZE):
        _clear(blocks, slot)
        blocks.area[slot] = 0
    for slot in range(order.shape[0]):
        row = order[slot]
        rows.x1[slot] = dets[row, 0]
        rows.y1[slot] = dets[row, 1]
        rows.x2[slot] = dets[row, 2]
        rows.y2[slot] = dets[row, 3]
        blocks.score[slot] = dets[row, 4]
        if single:
            blocks.area[slot] = (rows.x2[slot] - rows.x1[slot] + one) * (rows.y2[slot] - rows.y1[slot] + one)
        else:
            blocks.area[slot] = <float>_area(rows.x1[slot], rows.y1[slot], rows.x2[slot], rows.y2[slot])
    for block in range(blocks.count):
        slot = block * SIZE
        bounds.x1[block] = rows.x1[slot]
        bounds.y1[block] = rows.y1[slot]
        bounds.x2[block] = rows.x2[slot]
        bounds.y2[block] = rows.y2[slot]
        for slot in range(slot + 1, slot + SIZE):
            bounds.x1[block] = _min(bounds.x1[block], rows.x1[slot])
            bounds.y1[block] = _min(bounds.y1[block], rows.y1[slot])
            bounds.x2[block] = _max(bounds.x2[block], rows.x2[slot])
            bounds.y2[block] = _max(bounds.y2[block], rows.y2[slot])
        blocks.best[block] = _highest(blocks.score + block * SIZE, SIZE)


cdef _arrange(dets, Blocks* blocks, bint single):
    """Fill `blocks` with the rows; gives the row index of every slot and the memory, to be kept meanwhile."""
    cdef Py_ssize_t full = (len(dets) + SIZE - 1) // SIZE, column
    blocks.count = (full + LANES - 1) // LANES * LANES
    memory = np.empty((6 * SIZE + 6) * blocks.count, np.float32)
    near = np.empty(blocks.count, np.intc)
    cdef float[::1] floats = memory
    cdef int[::1] integers = near
    cdef float* start = &floats[0]
    cdef Py_ssize_t slots = blocks.count * SIZE
    blocks.rows = Boxes(start, start + slots, start + 2 * slots, start + 3 * slots)
    blocks.area = start + 4 * slots
    blocks.score = start + 5 * slots
    start += 6 * slots
    blocks.bounds = Boxes(start, start + blocks.count, start + 2 * blocks.count, start + 3 * blocks.count)
    blocks.best = start + 4 * blocks.count
    blocks.reach = start + 5 * blocks.count
    blocks.near = &integers[0]
    order = _neighbour_order(dets, max(1, round(full ** 0.5)))
    _fill(blocks, dets, order, single)
    return order, (memory, near)
