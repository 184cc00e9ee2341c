"""What a run will do: the plan, and the look at what each datatake shows of the area.

``plan`` is rows 1 to 4 and reads no pixel, ``screen`` row 4a. Imports ``walk`` (``screen`` alone:
its measuring), ``product``, ``scenes`` and below. ``engine``, ``api``, ``cli`` and ``patches``
begin with it.
"""
